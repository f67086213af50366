"""Eqs. 9-10 as printed: the distribution over the other domains is made even."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import (
    center_cosines,
    check_temperature,
    entropy,
    own_domain,
)


@dataclass(frozen=True)
class EntropyMax:
    """Mean over items of sum_d Q log Q, whose minimum spreads Q over all other domains.

    Args:
        tau: temperature of Eq. 10.
    """

    min_domains: ClassVar[int] = 3  # with one other domain Q is 1 and the loss constant
    tau: float

    def __post_init__(self) -> None:
        check_temperature(self.tau)

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        logits_KSK = center_cosines(items_KSD) / self.tau
        return -entropy(logits_KSK.masked_fill(own_domain(items_KSD), float("-inf"))).mean()
