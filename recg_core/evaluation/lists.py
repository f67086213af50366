"""What a row puts first for every user, kept while its ranks are counted.

Legend: M holdout rows, B rows of a group, n items of a tile, K items of a list, H embedding
dimension.
"""

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recg_core.base.schema import LISTS
from recg_core.domains.sequences import Holdout
from recg_core.evaluation.certificate import NUM_LISTED

_BATCH = 1024


class Listing:
    """The ten items that every user is recommended, found while ranks are counted.

    Candidates are those of the ranks: the test item and all items outside the history. A user whose
    candidates all score the same is recommended none.

    Args:
        holdout: M histories and test items.
    """

    def __init__(self, holdout: Holdout) -> None:
        self._holdout = holdout
        shape = len(holdout.users), NUM_LISTED
        self._items_MK = np.zeros(shape, dtype=np.int32)
        self._scores_MK = np.full(shape, -np.inf, dtype=np.float32)  # descending
        self._least_M = np.full(len(holdout.users), np.inf, dtype=np.float32)  # of a candidate

    def watch(self, rows: np.ndarray, items: slice, scores_Bn: Tensor) -> None:
        """Take the scores of a tile, as `rank_holdout` shows them."""
        history = self._holdout.history.take(rows)
        row_E = np.repeat(np.arange(len(rows)), history.lengths)
        column_E = history.values.astype(np.int64) - 1
        here = (column_E >= items.start) & (column_E < items.stop)
        here &= history.values != self._holdout.target[rows][row_E]
        known = row_E[here], column_E[here] - items.start
        place = tuple(torch.from_numpy(values).to(scores_Bn.device) for values in known)
        masked_Bn = scores_Bn.clone()
        masked_Bn[place] = torch.inf
        self._least_M[rows] = np.minimum(self._least_M[rows], masked_Bn.amin(dim=1).cpu().numpy())
        masked_Bn[place] = -torch.inf
        better = np.flatnonzero(masked_Bn.amax(dim=1).cpu().numpy() > self._scores_MK[rows, -1])
        if len(better):
            best_Bn = masked_Bn[torch.from_numpy(better).to(masked_Bn.device)]
            best = best_Bn.topk(min(NUM_LISTED, best_Bn.shape[1]), dim=1)
            found = best.indices.cpu().numpy().astype(np.int32) + items.start + 1
            self._merge(rows[better], found, best.values.cpu().numpy())

    def _merge(self, rows: np.ndarray, found: np.ndarray, scores: np.ndarray) -> None:
        items = np.concatenate([self._items_MK[rows], found], axis=1)
        scores = np.concatenate([self._scores_MK[rows], scores], axis=1)
        order = np.lexsort((items, -scores), axis=1)[:, :NUM_LISTED]
        self._items_MK[rows] = np.take_along_axis(items, order, axis=1)
        self._scores_MK[rows] = np.take_along_axis(scores, order, axis=1)

    def _listed(self) -> np.ndarray:
        """The item_idx of each row's list, 0 where it is shorter, [M, K]."""
        none_M = self._scores_MK[:, 0] == self._least_M
        return np.where(none_M[:, None] | np.isinf(self._scores_MK), 0, self._items_MK)

    def table(self, text_NH: np.ndarray) -> pl.DataFrame:
        """The LISTS table; diversity is 1 less the mean cosine of two items' texts of a list."""
        items_MK = self._listed()
        diversity = [
            _diversity(items_MK[start : start + _BATCH], text_NH)
            for start in range(0, len(items_MK), _BATCH)
        ]
        lists = [row[row > 0] for row in items_MK]
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
