"""Items pulled toward the centres of the other domains: what the text around Eq. 9 wants."""

from typing import ClassVar

from torch import Tensor

from recg_core.training.generalization.base import Reading, center_cosines


class Centers(Reading):
    """Mean over items and other domains of 1 - cos(item, centre)."""

    min_domains: ClassVar[int] = 2

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        distance_KSK = 1 - center_cosines(items_KSD, own=1.0)
        return (distance_KSK.sum(dim=-1) / (len(items_KSD) - 1)).mean()
