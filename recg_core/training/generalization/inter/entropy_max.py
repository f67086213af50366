"""Eqs. 9-10 as printed: the distribution over the other domains is made even."""

from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import EntropyReading, center_cosines, entropy


class EntropyMax(EntropyReading):
    """Sum over items of sum_d Q log Q, whose minimum spreads Q over all other domains.

    A sum, where Eq. 11 is a mean: the beta of Eq. 14 is of the size that makes up for it.
    """

    min_domains: ClassVar[int] = 3  # with one other domain Q is 1 and the loss constant

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        return -entropy(center_cosines(items_KSD, own=float("-inf")) / self.tau).sum()
