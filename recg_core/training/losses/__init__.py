"""Recommendation losses: what a model learns from the scores of a step.

Shapes: P predicted positions, M negatives.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from recg_core.training.losses.bpr import BPR
from recg_core.training.losses.gbce import GBCE
from recg_core.training.losses.softmax import SampledSoftmax


class Loss(Protocol):
    """A loss; its settings are the arguments of its constructor, keys of the variant's row."""

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        """A scalar to be minimised.

        Args:
            positives_P: score of the item that came next, at each position.
            negatives_PM: scores of uniformly sampled items at the same positions.
            valid_PM: False where a sampled item is the positive itself; such pairs do not count,
                nor does a position without another.
            num_items: of the catalogue that they are sampled from.
        """
        ...


LOSSES: dict[str, Callable[..., Loss]] = {
    "bpr": BPR,
    "softmax": SampledSoftmax,
    "gbce": GBCE,
}
