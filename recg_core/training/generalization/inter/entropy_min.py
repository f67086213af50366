"""The text around Eq. 9, whose sign is the opposite of the equation's."""

from torch import Tensor

from recg_core.training.generalization.inter.entropy_max import EntropyMax


class EntropyMin(EntropyMax):
    """Mean over items of the entropy of Q, whose minimum picks one other domain for each."""

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        return -super().__call__(items_KSD, texts_KSH)
