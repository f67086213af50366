"""Exact ranks of held-out items in the full catalogue, in memory that does not grow with it.

Users and items are scored a tile at a time (`tiles`), and what is counted in the tiles is added
up.

Legend: M holdout rows, B rows of a group, N items of the catalogue, n items of a tile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.access import enough_memory
from recg_core.base.errors import UserError
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.ranking.metrics import KS, mean_metrics, ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks
from recg_core.models.ranking.tiles import in_tiles
from recg_core.models.rows import Scorer

# Takes B row numbers, the items of a tile as a slice of 0..N, and their scores [B, n].
Watch = Callable[[np.ndarray, slice, Tensor], None]

_QUIET_SECONDS = 2.0  # a shorter ranking shows no progress bar


@dataclass(frozen=True)
class Ranks:
    """Where the test item of each of M holdout rows stands in the full catalogue, int32 [M]."""

    num_candidates: np.ndarray  # the test item and all items outside the user's history
    num_higher: np.ndarray  # candidates that score above the test item
    num_ties: np.ndarray  # other candidates that score the same

    def metrics(
        self, ks: Sequence[int] = KS, num_negatives: int | None = None
    ) -> dict[str, np.ndarray]:
        """Per-user metrics; see `recg_core.models.ranking.metrics.ranking_metrics`."""
        return ranking_metrics(
            self.num_higher, self.num_ties, self.num_candidates, ks, num_negatives
        )


@torch.no_grad()
def rank_holdout(
    scorer: Scorer,
    holdout: Holdout,
    num_items: int,
    *,
    label: str = "the model",
    watch: Watch | None = None,
) -> Ranks:
    """Rank the test item of every holdout row among all items outside the user's history.

    Args:
        scorer: takes row numbers of `holdout`; on any device.
        holdout: M histories and test items.
        num_items: N.
        label: what is being ranked, named in errors and on the progress bar.
        watch: is shown every score once, in tiles.

    Raises:
        UserError: when a score is NaN or infinite, there is nothing to rank, or the memory does not
            suffice for a tile.
        ValueError: when the scores are not of shape [B, n].
    """
    num_rows = len(holdout.users)
    if num_rows == 0:
        raise UserError(f"{label}: no user has a held-out item to rank; check the split")
    excluded = holdout.excluded
    num_higher, num_ties = np.empty((2, num_rows), dtype=np.int32)
    with (
        enough_memory(f"{label}: ranking among {num_items:,} items"),
        tqdm(
            total=num_rows, desc=label, unit="user", delay=_QUIET_SECONDS, disable=None, leave=False
        ) as progress,
    ):
        for groups, tiles in in_tiles(scorer, holdout, num_items, label, progress):
            counts: dict[int, _Counts] = {}
            for number, items, scores_Bn, own_B in tiles:
                rows = groups[number]
                if number not in counts:
                    counts[number] = _Counts(own_B, excluded.take(rows))
                counts[number].add(items, scores_Bn)
                if watch is not None:
                    watch(rows, items, scores_Bn)
            for number, rows in enumerate(groups):
                num_higher[rows], num_ties[rows] = counts[number].found()
    num_candidates = (num_items - excluded.lengths).astype(np.int32)
    return Ranks(num_candidates, num_higher, num_ties)


def validation_ndcg(
    scorer: Scorer,
    holdout: Holdout,
    num_items: int,
    *,
    k: int = 10,
    label: str = "the model",
) -> float:
    """Mean NDCG@k under full ranking, by `rank_holdout`."""
    ranks = rank_holdout(scorer, holdout, num_items, label=label)
    return mean_metrics(ranks.metrics((k,)))[f"ndcg@{k}"]


def stack_seeds(ranks_by_seed: Mapping[int, Ranks], users: np.ndarray) -> SeedRanks:
    """The ranks of several seeds over the same users (`holdout.users`)."""
    ranks = list(ranks_by_seed.values())
    return SeedRanks(
        users,
        np.array(list(ranks_by_seed), dtype=np.int32),
        ranks[0].num_candidates,
        np.stack([seed.num_higher for seed in ranks], axis=1),
        np.stack([seed.num_ties for seed in ranks], axis=1),
    )


class _Counts:
    """Candidates of every row of a group that score above its test item, and others that tie.

    Counts all items and takes the excluded ones off again: nothing is written into the scores and
    nothing loops over users.

    Args:
        own_B: scores of the test items.
        excluded: items of each row that are no candidates.
    """

    def __init__(self, own_B: Tensor, excluded: Ragged) -> None:
        self._own_B = own_B
        self._higher_B, self._equal_B = torch.zeros(2, len(own_B), device=own_B.device).long()
        row_E = excluded.rows
        column_E = excluded.values.astype(np.int64) - 1
        order = np.argsort(column_E, kind="stable")
        self._columns = column_E[order]
        self._excluded = torch.from_numpy(np.stack([row_E[order], self._columns])).to(own_B.device)

    def add(self, items: slice, scores_Bn: Tensor) -> None:
        """Count in a tile.

        A product of 0/1 floats with ones counts about ten times as fast as a sum of booleans on
        CPU; it is exact up to 2^24 items.
        """
        ones_n = scores_Bn.new_ones(scores_Bn.shape[1])
        mask_Bn = torch.empty_like(scores_Bn, memory_format=torch.contiguous_format)
        first, last = np.searchsorted(self._columns, [items.start, items.stop])
        row_E, column_E = self._excluded[:, first:last]
        excluded_E, own_E = scores_Bn[row_E, column_E - items.start], self._own_B[row_E]
        for compare, count_B in ((torch.gt, self._higher_B), (torch.eq, self._equal_B)):
            compare(scores_Bn, self._own_B[:, None], out=mask_Bn)
            count_B += (mask_Bn @ ones_n).long()
            count_B.index_add_(0, row_E, -compare(excluded_E, own_E).long())

    def found(self) -> tuple[np.ndarray, np.ndarray]:
        """Both, int64 [B]; a test item equals itself."""
        return self._higher_B.cpu().numpy(), self._equal_B.cpu().numpy() - 1
