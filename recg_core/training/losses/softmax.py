"""Sampled softmax."""

import torch
from torch import Tensor


class SampledSoftmax:
    """Cross entropy of the item that came next among itself and the sampled items.

    The mean over the positions with a valid pair. With uniform negatives the correction of Jean et
    al. (2015) is a constant and cancels.
    """

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        negatives_PM = negatives_PM.masked_fill(~valid_PM, float("-inf"))
        logits = torch.cat([positives_P[:, None], negatives_PM], dim=1)
        losses_P = torch.logsumexp(logits, dim=1) - positives_P  # 0 where there is no pair
        return losses_P.sum() / valid_PM.any(dim=1).sum().clamp(min=1)
