"""Metrics of every user from stored ranks: what all tables, tests and slices are made of.

Legend: U users, S seeds, M columns (a metric under a protocol), B resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.base.errors import UserError
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.cells import Cell
from recg_core.report.config import Protocols, ReportConfig
from recg_core.report.statistics import bootstrap_means


@dataclass(frozen=True)
class TargetMetrics:
    """The cells of one target in numbers, as fractions."""

    users: np.ndarray  # [U], user_idx
    values: dict[Cell, np.ndarray]  # [U, M], means over seeds
    means: dict[Cell, np.ndarray]  # [M]
    seed_std: dict[Cell, np.ndarray]  # [M], over seeds (n - 1); nan with one seed
    samples: dict[Cell, np.ndarray]  # [B, M], bootstrap means over the same draws


def measure_target(
    cells: Sequence[Cell], config: ReportConfig, users: np.ndarray | None = None
) -> TargetMetrics:
    """Read the ranks of a target's cells and compute their metrics.

    Args:
        users: user_idx of those that count; None: all.

    Raises:
        UserError: when ranks are missing, damaged or not of the same users.
    """
    ranks = {cell: read_ranks(cell.ranks) for cell in cells}
    check_same_users({str(cell.ranks): table for cell, table in ranks.items()})
    if users is not None:
        ranks = {cell: table.of_users(users) for cell, table in ranks.items()}
    users = ranks[cells[0]].users
    values, seed_std = {}, {}
    found = user_metrics(list(ranks.values()), config)
    for cell, metrics_USM in zip(ranks, found, strict=True):
        values[cell] = metrics_USM.mean(axis=1)
        seed_std[cell] = _deviation(metrics_USM.mean(axis=0))
    del ranks
    # All at once, so that all cells see the same draws.
    wide = np.concatenate(list(values.values()), axis=1)
    samples = np.split(
        bootstrap_means(wide, config.num_resamples, config.seed), len(values), axis=1
    )
    return TargetMetrics(
        users=users,
        values=values,
        means={cell: of_users.mean(axis=0) for cell, of_users in values.items()},
        seed_std=seed_std,
        samples=dict(zip(values, samples, strict=True)),
    )


def user_metrics(rows: Sequence[SeedRanks], protocols: Protocols) -> Iterator[np.ndarray]:
    """The metrics of several rows over the same users, float64 [U, S, M] one at a time.

    Equal ranks give equal metrics, so each distinct (candidates, rank, ties) is computed once.
    """
    counts = np.unique(np.concatenate([row.num_candidates for row in rows]))
    highest = max(int(row.num_higher.max()) for row in rows)
    most_tied = max(int(row.num_ties.max()) for row in rows)
    shape = (len(counts), highest + 1, most_tied + 1)
    keys = []
    for row in rows:
        index_U1 = np.searchsorted(counts, row.num_candidates)[:, None]
        keys.append(np.ravel_multi_index((index_U1, row.num_higher, row.num_ties), shape))
    distinct, place = np.unique(np.concatenate([k.ravel() for k in keys]), return_inverse=True)
    index, higher, ties = np.unravel_index(distinct, shape)
    found = [
        ranking_metrics(higher, ties, counts[index], protocols.ks, negatives)
        for negatives in (None, protocols.num_negatives)
    ]
    gains = np.stack([values for metrics in found for values in metrics.values()], axis=1)
    start = 0
    for key in keys:
        yield gains[place[start : start + key.size].reshape(key.shape)]
        start += key.size


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
