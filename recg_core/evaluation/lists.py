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
from recg_core.models.ranking.best import Best
from recg_core.models.rows import places_of

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
        self._best = Best(len(holdout.users), NUM_LISTED)
        self._least_M = np.full(len(holdout.users), np.inf, dtype=np.float32)  # of a candidate

    def watch(self, rows: np.ndarray, items: slice, scores_Bn: Tensor) -> None:
        """Take the scores of a tile, as `rank_holdout` shows them."""
        places = np.arange(items.start, items.stop)
        known = places_of(self._holdout.excluded.take(rows), places, scores_Bn.device)
        masked_Bn = scores_Bn.clone()
        masked_Bn[known] = torch.inf
        self._least_M[rows] = np.minimum(self._least_M[rows], masked_Bn.amin(dim=1).cpu().numpy())
        masked_Bn[known] = -torch.inf
        self._best.add(rows, places + 1, masked_Bn)

    def _listed(self) -> np.ndarray:
        """The item_idx of each row's list, 0 where it is shorter, [M, K]."""
        none_M = self._best.scores_MK[:, 0] == self._least_M
        return np.where(none_M[:, None], 0, self._best.items_MK)

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
