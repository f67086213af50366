"""Items that stay as diverse as their texts are."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import item_cosines


@dataclass(frozen=True)
class Isometry:
    """Mean squared difference of the items' cosines from those of their texts, over pairs of one
    domain. A rotation of the texts has none; a collapse has much."""

    min_domains: ClassVar[int] = 1

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        return (item_cosines(items_KSD) - item_cosines(texts_KSH)).square().mean()
