"""The text around Eq. 9, whose sign is the opposite of the equation's."""

from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import EntropyReading, center_cosines, entropy


class EntropyMin(EntropyReading):
    """Mean over items of the entropy of Q, whose minimum picks one other domain for each."""

    min_domains: ClassVar[int] = 3  # with one other domain Q is 1 and the loss constant

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        return entropy(center_cosines(items_KSD, own=float("-inf")) / self.tau).mean()
