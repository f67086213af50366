"""Exact ranks of held-out items in the full catalogue, in memory that does not grow with it.

Users and items are scored a tile at a time, and what is counted in the tiles is added up.

Legend: M holdout rows, B rows of a group, N items of the catalogue, n items of a tile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from recg_core.models.rows import Items, Scorer

# Takes B row numbers, the items of a tile as a slice of 0..N, and their scores [B, n].
Watch = Callable[[np.ndarray, slice, Tensor], None]

SCORES_AT_ONCE = 1 << 20  # of a tile: 4 MiB, which a cache holds
USERS_AT_ONCE = 8192  # of a group: the more, the more of their history items are the same
HISTORY_AT_ONCE = 1 << 16  # items of their histories, but for a user who alone has more
TILES_KEPT = 64  # of a group, until the scores of all its test items are known
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
        for rows, width in _groups(holdout, num_items):
            counts: _Counts | None = None
            target_B, barred, shown = holdout.target[rows] - 1, excluded.take(rows), 0
            for done, (items, scores_Bn, own_B) in enumerate(
                _tiles(scorer.of(rows), target_B, num_items, width, label), start=1
            ):
                counts = counts or _Counts(own_B, barred)
                counts.add(items, scores_Bn)
                if watch is not None:
                    watch(rows, items, scores_Bn)
                ranked = min(len(rows), len(rows) * done * width // num_items)
                progress.update(ranked - shown)
                shown = ranked
            assert counts is not None
            num_higher[rows], num_ties[rows] = counts.found()
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


def _groups(holdout: Holdout, num_items: int) -> Iterator[tuple[np.ndarray, int]]:
    """Rows that are ranked together, and the items of their tiles.

    Rows of like test items go together, since a tile counts for nothing before the scores of the
    test items are known: those are in few tiles then, which are kept.
    """
    order = np.argsort(holdout.target, kind="stable")
    tile_of, ends = holdout.target[order] - 1, np.cumsum(holdout.history.lengths[order])
    start = 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        size = int(np.searchsorted(ends, before + HISTORY_AT_ONCE, "right")) - start
        size = max(1, min(size, USERS_AT_ONCE))
        while True:
            width = max(1, SCORES_AT_ONCE // size)
            if size == 1 or len(np.unique(tile_of[start : start + size] // width)) <= TILES_KEPT:
                break
            size = (size + 1) // 2
        yield order[start : start + size], min(width, num_items)
        start += size


def _tiles(
    score: Callable[[Items], Tensor], target_B: np.ndarray, num_items: int, width: int, label: str
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """The items of every tile, their scores [B, n], and those of the test items [B].

    A test item's score is that in its tile, and is computed nowhere else: rounded otherwise, it
    would not tie with items like it.

    Args:
        target_B: columns of the test items.
    """

    def scored(number: int) -> tuple[slice, Tensor]:
        items = slice(number * width, min((number + 1) * width, num_items))
        scores_Bn = score(items)
        _check_scores(scores_Bn, (len(target_B), items.stop - items.start), label)
        return items, scores_Bn

    tile_of = target_B // width
    kept = {number: scored(number) for number in np.unique(tile_of).tolist()}
    own_B = torch.empty(len(target_B), device=next(iter(kept.values()))[1].device)
    for number, (items, scores_Bn) in kept.items():
        row = np.flatnonzero(tile_of == number)
        column = target_B[row] - items.start
        own_B[torch.from_numpy(row)] = scores_Bn[torch.from_numpy(row), torch.from_numpy(column)]
    for number in [*kept, *(n for n in range(-(-num_items // width)) if n not in kept)]:
        yield (*(kept.pop(number) if number in kept else scored(number)), own_B)


def _check_scores(scores_Bn: Tensor, shape: tuple[int, int], label: str) -> None:
    if scores_Bn.shape != shape:
        raise ValueError(f"{label}: expected scores of shape {shape}, got {tuple(scores_Bn.shape)}")
    # The sum of finite scores is finite but for absurd magnitudes; isfinite is 50 times slower.
    if not torch.isfinite(scores_Bn.sum()) and not torch.isfinite(scores_Bn).all():
        raise UserError(
            f"{label}: gives scores that are NaN or infinite; its training has diverged or its "
            "item embeddings are damaged, so retrain it or encode again"
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
