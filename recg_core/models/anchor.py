"""The similarity anchor: ranking by likeness to the history, with learned rules of how people move.

What a model learns about *which* products go together holds in its source alone; *how* the next
item depends on the history (how sharply similarity counts, how fast it fades, how much popularity
matters) holds elsewhere too. The anchor learns the second and nothing of the first: it has some
fifty parameters and sees no item, only similarities, ages and counts.

Shapes: B users, L positions, M candidates, N items of a domain, H dimension of the text embeddings.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recg_core.domains.sequences import Ragged
from recg_core.models.near import NearItems
from recg_core.models.neighbors import kernel_scorer, weighted_sum
from recg_core.models.rows import Items, Scorer, combined

DECAY = 0.85  # initial weight of a history item relative to the next younger one
SHARPNESS = 8.0  # initial factor of the cosine
COUNT_WEIGHT = 0.4  # initial weight of each of the two log counts
LATEST = 2  # items at the end of a history that the second count is made of
_SMALLEST = 1e-20


class Anchor(nn.Module):
    """Scores candidate c by scale * log sum_i w[age(i)] exp(sharpness (cos(i, c) - 1)).

    i runs over the history; age 0 is its latest item. With counts, a weighted sum of two log counts
    of c is added, times exp(affinity * m), where m says how far the items of the history are above
    the domain's average in log count: some users follow the crowd, others do not.

    It starts as the training-free log-sum-exp row, so that training departs from that only where
    the source's users do.
    """

    def __init__(self, max_age: int, *, counts: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.log_weight = nn.Parameter(torch.arange(max_age) * math.log(DECAY))
        self.count_weight = nn.Parameter(torch.full((2,), COUNT_WEIGHT)) if counts else None
        self.affinity = nn.Parameter(torch.zeros(())) if counts else None

    def position_scores(self, items_BLH: Tensor, candidates_MH: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity scores at every position t of a sequence from the items before it.

        Args:
            items_BLH: unit item vectors, oldest first, padded on the right.
            candidates_MH: unit vectors of items shared by all positions.

        Returns:
            The score of item t itself [B, L], and of the candidates [B, L, M]. Position 0, which
            has no history, scores all items the same.
        """
        length = items_BLH.shape[1]
        position_L = torch.arange(length, device=items_BLH.device)
        age_LL = position_L[:, None] - 1 - position_L[None]
        weight_LL = self._weights(age_LL.clamp(min=0)) * (age_LL >= 0)
        own_BLL = self._kernel(items_BLH @ items_BLH.transpose(1, 2))
        other_BLM = self._kernel(items_BLH @ candidates_MH.T)
        return self._log((weight_LL * own_BLL).sum(dim=2)), self._log(weight_LL @ other_BLM)

    def count_scores(self, log_counts: Tensor, excess: Tensor) -> Tensor:
        """The part of the scores that counts make; 0 for an anchor without counts.

        Args:
            log_counts: log(1 + counts) of the items in the last dimension, [..., 2].
            excess: m of the users, to be broadcast with the other dimensions.
        """
        if self.count_weight is None or self.affinity is None:
            return log_counts.new_zeros(())
        return log_counts @ self.count_weight * (self.affinity * excess).exp()

    @torch.no_grad()
    def scorer(self, history: Ragged, items: Tensor | NearItems, counts: "LogCounts") -> Scorer:
        """The scores of items for rows of `history`.

        Args:
            items: unit item vectors, [N, H] where they are a tensor.
            counts: of the domain.
        """
        device = counts.log_N2.device
        weigh = lambda age: self._weights(torch.from_numpy(age).to(device))  # noqa: E731
        summed = kernel_scorer(history, items, weigh, float(self.log_sharpness.exp()))
        ones, lengths = torch.ones(len(history.values), device=device), history.lengths
        excess_B1 = weighted_sum(history, counts.excess_N[:, None], ones)
        excess_B1 /= torch.from_numpy(lengths).to(device).clamp(min=1)[:, None]

        def with_counts(rows: np.ndarray) -> Callable[[Items, Tensor], Tensor]:
            excess = excess_B1[torch.from_numpy(rows).to(device)]

            @torch.no_grad()
            def score(items: Items, of_texts: Tensor) -> Tensor:
                return self._log(of_texts) + self.count_scores(counts.log_N2[items], excess)

            return score

        return combined([summed], with_counts)

    def _weights(self, age: Tensor) -> Tensor:
        return self.log_weight.exp()[age.clamp(max=len(self.log_weight) - 1)]

    def _kernel(self, cosine: Tensor) -> Tensor:
        return (self.log_sharpness.exp() * (cosine - 1)).exp()

    def _log(self, kernel_sum: Tensor) -> Tensor:
        return self.log_scale.exp() * kernel_sum.clamp(min=_SMALLEST).log()


class AnchorInputs(NamedTuple):
    """What the anchor reads of the source, by item_idx; row 0, the padding, is zero."""

    items_NH: Tensor  # unit vectors
    counts_N2: Tensor  # of the training sequences without their last items
    log_N2: Tensor  # log(1 + counts)
    excess_N1: Tensor  # `count_excess` of it

    @classmethod
    def of(cls, items_NH: Tensor, counts_N2: Tensor) -> "AnchorInputs":
        """Those of a domain's items."""
        log_N2, excess_N = LogCounts.of(counts_N2)
        tables = (items_NH, counts_N2, log_N2, excess_N[:, None])
        return cls(*(F.pad(table, (0, 0, 1, 0)) for table in tables))


def training_scores(
    anchor: Anchor, inputs: AnchorInputs, sequences_BL: Tensor, negatives_M: Tensor
) -> tuple[Tensor, Tensor]:
    """The anchor's scores of the item at every position [B, L], and of the negatives [B, L, M].

    Args:
        sequences_BL: item_idx, padded with 0 on the right.
    """
    items_BLH = F.embedding(sequences_BL, inputs.items_NH)
    negatives_MH = F.embedding(negatives_M, inputs.items_NH)
    near_BL, near_BLM = anchor.position_scores(items_BLH, negatives_MH)
    # The occurrence that is to be predicted is not part of what has been observed; a sequence's
    # last item is not counted in the first place.
    last_B1 = (sequences_BL > 0).sum(dim=1, keepdim=True) - 1
    position_L = torch.arange(sequences_BL.shape[1], device=sequences_BL.device)
    counted_BL = position_L < last_B1
    itself_BL2 = torch.stack([counted_BL, counted_BL & (position_L >= last_B1 - LATEST)], dim=2)
    counts_BL2 = F.embedding(sequences_BL, inputs.counts_N2)
    observed_BL2 = (counts_BL2 - itself_BL2.float()).clamp(min=0)
    excess_BL = F.embedding(sequences_BL, inputs.excess_N1)[:, :, 0]
    # The mean over the items before the position.
    excess_BL = (excess_BL.cumsum(dim=1) - excess_BL) / position_L.clamp(min=1)
    near_BL = near_BL + anchor.count_scores(torch.log1p(observed_BL2), excess_BL)
    negatives_M2 = F.embedding(negatives_M, inputs.log_N2)
    near_BLM = near_BLM + anchor.count_scores(negatives_M2, excess_BL[:, :, None])
    return near_BL, near_BLM


def observed_counts(histories: Ragged, num_items: int) -> Tensor:
    """How often each item occurs in the histories, and among the `LATEST` last of each, [N, 2]."""
    latest = histories.take(np.arange(len(histories)), LATEST)
    counts = [np.bincount(part.values, minlength=num_items + 1)[1:] for part in (histories, latest)]
    return torch.from_numpy(np.stack(counts, axis=1).astype(np.float32))


def count_excess(log_counts_N2: Tensor) -> Tensor:
    """How far log(1 + count) of every item is above the average of the items that users have."""
    log_N = log_counts_N2[:, 0]
    count_N = torch.expm1(log_N)
    return log_N - (count_N * log_N).sum() / count_N.sum().clamp(min=1)


class LogCounts(NamedTuple):
    """How often a domain's items occur, as the anchor reads it."""

    log_N2: Tensor  # log(1 + `observed_counts`)
    excess_N: Tensor  # `count_excess` of it

    @classmethod
    def of(cls, counts_N2: Tensor) -> "LogCounts":
        """Those of `observed_counts`."""
        log_N2 = torch.log1p(counts_N2)
        return cls(log_N2, count_excess(log_N2))
