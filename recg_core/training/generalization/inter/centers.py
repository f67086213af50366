"""Items pulled toward the centres of the other domains: what the text around Eq. 9 wants."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import center_cosines, own_domain


@dataclass(frozen=True)
class Centers:
    """Mean over items and other domains of 1 - cos(item, centre)."""

    min_domains: ClassVar[int] = 2

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        distance_KSK = (1 - center_cosines(items_KSD)).masked_fill(own_domain(items_KSD), 0.0)
        return (distance_KSK.sum(dim=-1) / (len(items_KSD) - 1)).mean()
