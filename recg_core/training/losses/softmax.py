"""Sampled softmax."""

import torch
from torch import Tensor


class SampledSoftmax:
    """Cross entropy of the item that came next among itself and the sampled items.

    With uniform negatives the correction of Jean et al. (2015) is a constant and cancels.
    """

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        negatives_PM = negatives_PM.masked_fill(~valid_PM, float("-inf"))
        logits = torch.cat([positives_P[:, None], negatives_PM], dim=1)
        return (torch.logsumexp(logits, dim=1) - positives_P).mean()
