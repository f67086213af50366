"""Eqs. 11-12 as printed."""

from torch import Tensor

from recg_core.training.generalization.base import EntropyReading, entropy, item_cosines


class Entropy(EntropyReading):
    """-L_intra, the item itself included: the mean over items, summed over domains.

    Its minimum is total collapse, where every row of P is uniform.
    """

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        return -entropy(item_cosines(items_KSD) / self.tau).mean(dim=1).sum()
