"""Bayesian personalized ranking (Rendle et al. 2009), LLM-RecG Eq. 6."""

import torch.nn.functional as F
from torch import Tensor


class BPR:
    """Mean of -log sigmoid(positive - negative) over all valid pairs; 0 where there is none.

    Eq. 6 is a sum; the mean keeps the learning rate independent of the batch.
    """

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        losses_PM = F.softplus(negatives_PM - positives_P[:, None])
        return (losses_PM * valid_PM).sum() / valid_PM.sum().clamp(min=1)
