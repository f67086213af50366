"""Eqs. 11-12 as printed."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import check_temperature, entropy, item_cosines


@dataclass(frozen=True)
class Entropy:
    """-L_intra, the item itself included: the mean over items, summed over domains.

    Its minimum is total collapse, where every row of P is uniform.

    Args:
        tau: temperature of Eq. 12.
    """

    min_domains: ClassVar[int] = 1
    tau: float

    def __post_init__(self) -> None:
        check_temperature(self.tau)

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        return -entropy(item_cosines(items_KSD) / self.tau).mean(dim=1).sum()
