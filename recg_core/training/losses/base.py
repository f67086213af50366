"""The interface of a recommendation loss. Shapes: P predicted positions, M negatives."""

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """A loss; its settings are the arguments of its constructor, keys of the variant's row."""

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        """A scalar to be minimised.

        Args:
            positives_P: score of the item that came next, at each position.
            negatives_PM: scores of the sampled items at the same positions.
            valid_PM: False where a sampled item is the positive itself; such pairs do not count.
            num_items: items of the catalogue that negatives are drawn from, uniformly.
        """
        ...
