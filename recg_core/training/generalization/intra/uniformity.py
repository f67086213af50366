"""Items spread over the sphere (Wang & Isola 2020): what the text around Eq. 11 wants."""

import math

import torch
from torch import Tensor

from recg_core.training.generalization.base import Reading, item_cosines


class Uniformity(Reading):
    """log mean exp(-2 |x - y|^2) over pairs of distinct items on the unit sphere, the mean over
    domains."""

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        cosine_KSS = item_cosines(items_KSD)
        num_items = cosine_KSS.shape[1]
        itself = torch.eye(num_items, dtype=torch.bool, device=items_KSD.device)
        # |x - y|^2 = 2 - 2 cos(x, y) on the unit sphere
        log_kernel = (-4 * (1 - cosine_KSS)).masked_fill(itself, float("-inf"))
        log_pairs = math.log(num_items * (num_items - 1))
        return torch.logsumexp(log_kernel.flatten(1), dim=1).mean() - log_pairs
