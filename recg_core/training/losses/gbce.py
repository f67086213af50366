"""Generalised binary cross entropy (gBCE), the loss of gSASRec (Petrov & Macdonald 2023)."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class GBCE:
    """Binary cross entropy in which the probability of a positive is raised to the power beta.

    Few negatives make a model overconfident: it is never told that most items are wrong. With a
    share alpha of the catalogue as negatives, beta = 1 - t (1 - alpha).

    Scores count from the logit of chance, -log(N - 1), a constant that no ranking sees. They are
    near 0 at the start, and without it every negative would pull with half its weight: what Adam
    remembers of that keeps its steps short for hundreds of epochs.

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
        """See `Loss`; of each position the mean over its positive and its valid negatives, and of
        these the mean over the positions with a valid pair."""
        # Negatives are drawn with replacement, so that there can be more than there are items.
        alpha = min(1.0, negatives_PM.shape[1] / max(1, num_items - 1))
        beta = 1 - self.t * (1 - alpha)
        chance = -math.log(max(1, num_items - 1))
        right_P = beta * F.softplus(-positives_P - chance)
        wrong_P = (F.softplus(negatives_PM + chance) * valid_PM).sum(dim=1)
        pairs_P = valid_PM.sum(dim=1)
        losses_P = (right_P + wrong_P) / (1 + pairs_P)
        return (losses_P * (pairs_P > 0)).sum() / (pairs_P > 0).sum().clamp(min=1)
