"""What a row puts first for every user, kept while its ranks are counted.

Legend: M holdout rows, B rows of a batch, N items, K items of a list, H embedding dimension.
"""

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recg_core.base.schema import LISTS
from recg_core.domains.sequences import Holdout
from recg_core.evaluation.certificate import NUM_LISTED
from recg_core.models.ranking.full_rank import ScoreBatch

_ROWS = 32  # at a time, so that the copy of their scores stays in cache
_BATCH = 1024


class Listing:
    """A scorer that remembers of all that passes the ten items that a user is recommended.

    Candidates are those of the ranks: the test item and all items outside the history. A user whose
    candidates all score the same is recommended none.

    Args:
        score_batch: as `rank_holdout` takes it.
        holdout: M histories and test items.
    """

    def __init__(self, score_batch: ScoreBatch, holdout: Holdout) -> None:
        self._score_batch, self._holdout = score_batch, holdout
        self._items_MK = np.zeros((len(holdout.users), NUM_LISTED), dtype=np.int32)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """The scores [B, N] of B rows of the holdout, as they are."""
        scores_BN = self._score_batch(rows)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            self._items_MK[part] = self._first(part, scores_BN[start : start + _ROWS])
        return scores_BN

    def _first(self, rows: np.ndarray, scores_BN: Tensor) -> np.ndarray:
        """The item_idx of each row's list, 0 where it is shorter, [B, K]."""
        history = self._holdout.history.take(rows)
        row_E = np.repeat(np.arange(len(rows)), history.lengths)
        other = history.values != self._holdout.target[rows][row_E]
        known = (row_E[other], history.values[other].astype(np.int64) - 1)
        place = tuple(torch.from_numpy(values).to(scores_BN.device) for values in known)
        masked_BN = scores_BN.clone()
        masked_BN[place] = -torch.inf
        best = masked_BN.topk(min(NUM_LISTED, masked_BN.shape[1]), dim=1)
        masked_BN[place] = torch.inf
        none_B1 = best.values[:, :1] == masked_BN.amin(dim=1, keepdim=True)
        listed = torch.where(none_B1 | best.values.isinf(), 0, best.indices + 1).cpu().numpy()
        return np.pad(listed, ((0, 0), (0, NUM_LISTED - listed.shape[1])))

    def table(self, text_NH: np.ndarray) -> pl.DataFrame:
        """The LISTS table; diversity is 1 less the mean cosine of two items' texts of a list."""
        diversity = [
            _diversity(self._items_MK[start : start + _BATCH], text_NH)
            for start in range(0, len(self._items_MK), _BATCH)
        ]
        lists = [row[row > 0] for row in self._items_MK]
        return pl.DataFrame(
            {
                "user_idx": self._holdout.users,
                "items": pl.Series(lists, dtype=pl.List(pl.Int32)),
                "diversity": np.concatenate(diversity),
            },
            schema=LISTS.columns,
        )


def _diversity(items_MK: np.ndarray, text_NH: np.ndarray) -> np.ndarray:
    """Of every list, float32 [M]; 0 with fewer than two items.

    The cosines of all pairs of unit vectors sum to (|sum x|^2 - k) / 2.
    """
    vectors_MKH = text_NH[np.maximum(items_MK - 1, 0)].astype(np.float32)
    lengths = np.linalg.norm(vectors_MKH, axis=2, keepdims=True)
    vectors_MKH *= (items_MK > 0)[:, :, None] / np.maximum(lengths, 1e-12)
    count = (items_MK > 0).sum(axis=1)
    together = np.square(vectors_MKH.sum(axis=1)).sum(axis=1) - count
    mean = together / np.maximum(count * (count - 1), 1)
    return np.where(count > 1, 1 - mean, 0.0).astype(np.float32)
