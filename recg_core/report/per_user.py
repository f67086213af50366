"""Metrics of every user from stored ranks: what all tables, tests and slices are made of.

Legend: U users, S seeds, M columns (a metric under a protocol), D distinct ranks, B resamples.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.threads import in_threads
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.cells import Cell
from recg_core.report.config import Protocols, ReportConfig
from recg_core.report.statistics import bootstrap_means

EVERY = slice(None)
THREADS = 4  # more would each have the values of a cell in memory
_BLOCK = 8192  # users whose metrics by all cells are in memory together
Row = TypeVar("Row", bound=Hashable)


@dataclass(frozen=True)
class UserValues(Generic[Row]):
    """Metrics of the users of some rows, made when they are asked for.

    Equal ranks give equal metrics, so each distinct (candidates, rank, ties) is computed once; of
    every row it is kept which of these each user has.
    """

    gains_DM: np.ndarray  # of the distinct ones
    places: dict[Row, np.ndarray]  # int32 [U, S]

    def of(self, row: Row, users: slice = EVERY) -> np.ndarray:
        """The metrics of a row's users, the mean over seeds, float64 [users, M]."""
        first, *others = self.by_seed(row, users)
        for values_UM in others:
            first += values_UM
        return first / self.places[row].shape[1]

    def by_seed(self, row: Row, users: slice = EVERY) -> Iterator[np.ndarray]:
        """The metrics [users, M] of a row's users by one seed after the other."""
        for place_U in self.places[row][users].T:
            yield self.gains_DM.take(place_U, axis=0)

    def column(self, row: Row, column: int) -> np.ndarray:
        """One metric of a row's users, the mean over seeds, [U]."""
        return np.asarray(self.gains_DM[:, column][self.places[row]].mean(axis=1))


@dataclass(frozen=True)
class TargetMetrics:
    """The cells of one target in numbers, as fractions."""

    users: np.ndarray  # [U], user_idx
    values: UserValues[Cell]
    means: dict[Cell, np.ndarray]  # [M]
    seed_std: dict[Cell, np.ndarray]  # [M], over seeds (n - 1); nan with one seed
    samples: dict[Cell, np.ndarray]  # [B, M], bootstrap means over the same draws


def measure_target(
    cells: Sequence[Cell], config: ReportConfig, users: np.ndarray | None = None
) -> TargetMetrics:
    """Read the ranks of a target's cells and compute their metrics.

    The ranks of few cells at a time are in memory.

    Args:
        users: user_idx of those that count; None: all.

    Raises:
        UserError: when ranks are missing, damaged or not of the same users.
    """
    first = read_ranks(cells[0].ranks)

    def read(cell: Cell) -> SeedRanks:
        ranks = read_ranks(cell.ranks)
        check_same_users({str(cells[0].ranks): first, str(cell.ranks): ranks})
        return ranks if users is None else ranks.of_users(users)

    def level(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        of_seeds_SM = np.stack([values_UM.mean(axis=0) for values_UM in values.by_seed(cell)])
        return values.of(cell).mean(axis=0), _deviation(of_seeds_SM)

    values = user_values(cells, read, config)
    means, seed_std = zip(*in_threads(level, cells, THREADS), strict=True)
    kept = first.users if users is None else first.of_users(users).users
    # All at once, so that all cells see the same draws.
    blocks = (
        np.concatenate([values.of(cell, rows) for cell in cells], axis=1)
        for rows in (slice(start, start + _BLOCK) for start in range(0, len(kept), _BLOCK))
    )
    samples = bootstrap_means(blocks, len(kept), config.num_resamples, config.seed)
    return TargetMetrics(
        users=kept,
        values=values,
        means=dict(zip(cells, means, strict=True)),
        seed_std=dict(zip(cells, seed_std, strict=True)),
        samples=dict(zip(cells, np.split(samples, len(cells), axis=1), strict=True)),
    )


def user_values(
    rows: Sequence[Row], read: Callable[[Row], SeedRanks], protocols: Protocols
) -> UserValues[Row]:
    """The metrics of several rows.

    Args:
        read: gives the ranks of a row, and may be asked by several threads.
    """

    def distinct(row: Row) -> tuple[np.ndarray, np.ndarray]:
        ranks = read(row)
        return _distinct(ranks.num_candidates[:, None], ranks.num_higher, ranks.num_ties)

    found, places = zip(*in_threads(distinct, rows, THREADS), strict=True)
    (candidates, higher, ties), among = _distinct(*np.concatenate(found, axis=1))
    ends = np.cumsum([triples.shape[1] for triples in found])[:-1]
    of_rows = [
        place.take(within) for place, within in zip(np.split(among, ends), places, strict=True)
    ]
    metrics = [
        ranking_metrics(higher, ties, candidates, protocols.ks, negatives)
        for negatives in (None, protocols.num_negatives)
    ]
    gains = np.stack([values for of in metrics for values in of.values()], axis=1)
    return UserValues(gains, dict(zip(rows, of_rows, strict=True)))


def _distinct(
    candidates: np.ndarray, higher: np.ndarray, ties: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The distinct triples [3, D], and which of them each is, both int32."""
    counts = np.unique(candidates)
    shape = (len(counts), int(higher.max()) + 1, int(ties.max()) + 1)
    keys = np.ravel_multi_index((np.searchsorted(counts, candidates), higher, ties), shape)
    distinct, place = np.unique(keys, return_inverse=True)
    index, *others = np.unravel_index(distinct, shape)
    triples = np.stack([counts[index], *others]).astype(np.int32)
    return triples, place.reshape(keys.shape).astype(np.int32)


def check_same_users(rows: dict[str, SeedRanks]) -> None:
    """Refuse rows that were not ranked for the same users in the same catalogue.

    Raises:
        UserError: naming the first two that differ, and how.
    """
    (first, reference), *others = rows.items()
    for name, row in others:
        if not np.array_equal(row.users, reference.users):
            raise UserError(
                f"{first} and {name} were ranked for different users ({len(reference.users):,} and "
                f"{len(row.users):,}); they cannot be compared"
            )
        if not np.array_equal(row.num_candidates, reference.num_candidates):
            raise UserError(
                f"{first} and {name} were ranked in different catalogues or after different "
                "histories; they cannot be compared"
            )


def _deviation(seed_means_SM: np.ndarray) -> np.ndarray:
    if len(seed_means_SM) < 2:
        return np.full(seed_means_SM.shape[1], np.nan)
    return np.asarray(seed_means_SM.std(axis=0, ddof=1))
