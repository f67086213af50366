"""The text around Eq. 9, whose sign is the opposite of the equation's."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import check_temperature
from recg_core.training.generalization.inter.entropy_max import EntropyMax


@dataclass(frozen=True)
class EntropyMin:
    """Mean over items of the entropy of Q, whose minimum picks one other domain for each.

    Args:
        tau: temperature of Eq. 10.
    """

    min_domains: ClassVar[int] = EntropyMax.min_domains
    tau: float

    def __post_init__(self) -> None:
        check_temperature(self.tau)

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        return -EntropyMax(self.tau)(items_KSD, texts_KSH)
