"""Items that stay as diverse as their texts are."""

from torch import Tensor

from recg_core.training.generalization.base import Reading, item_cosines


class Isometry(Reading):
    """Mean squared difference of the items' cosines from those of their texts, over pairs of one
    domain. A rotation of the texts has none; a collapse has much."""

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        return (item_cosines(items_KSD) - item_cosines(texts_KSH)).square().mean()
