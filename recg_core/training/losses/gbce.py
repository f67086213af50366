"""Generalised binary cross entropy (gBCE), the loss of gSASRec (Petrov & Macdonald 2023)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class GBCE:
    """Binary cross entropy in which the probability of a positive is raised to the power beta.

    Few negatives make a model overconfident: it is never told that most items are wrong. With a
    share alpha of the catalogue as negatives, beta = 1 - t (1 - alpha).

    Attributes:
        t: 0 is plain binary cross entropy; 1 takes out all overconfidence, so that a sigmoid of a
            score estimates a probability.
    """

    t: float

    def __post_init__(self) -> None:
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must lie between 0 and 1, not {self.t}")

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        """See `Loss`; of each position the mean over its positive and its valid negatives."""
        # Negatives are drawn with replacement, so that there can be more than there are items.
        alpha = min(1.0, negatives_PM.shape[1] / max(1, num_items - 1))
        beta = 1 - self.t * (1 - alpha)
        right_P = beta * F.softplus(-positives_P)
        wrong_P = (F.softplus(negatives_PM) * valid_PM).sum(dim=1)
        return ((right_P + wrong_P) / (1 + valid_PM.sum(dim=1))).mean()
