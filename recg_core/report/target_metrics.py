"""The metrics of every cell of one target from stored ranks, over the same users.

Legend: U users, S seeds, M columns (metrics under both protocols), B resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.models.ranking.ranks import read_ranks
from recg_core.report.cells import Cell
from recg_core.report.config import ReportConfig
from recg_core.report.per_user import check_same_users, user_metrics
from recg_core.report.statistics import bootstrap_means


@dataclass(frozen=True)
class TargetMetrics:
    """The cells of one target in numbers, as fractions."""

    users: np.ndarray  # [U], user_idx
    values: dict[Cell, np.ndarray]  # [U, M], means over seeds
    means: dict[Cell, np.ndarray]  # [M]
    seed_std: dict[Cell, np.ndarray]  # [M], over seeds (n - 1); nan with one seed
    samples: dict[Cell, np.ndarray]  # [B, M], bootstrap means over the same draws


def measure_target(cells: Sequence[Cell], config: ReportConfig) -> TargetMetrics:
    """Read the ranks of a target's cells and compute their metrics.

    Raises:
        UserError: when ranks are missing, damaged or not of the same users.
    """
    ranks = {cell: read_ranks(cell.ranks) for cell in cells}
    check_same_users({str(cell.ranks): table for cell, table in ranks.items()})
    users = next(iter(ranks.values())).users
    found = dict(zip(ranks, user_metrics(list(ranks.values()), config.protocols), strict=True))
    del ranks
    values = {cell: metrics.values for cell, metrics in found.items()}
    return TargetMetrics(
        users=users,
        values=values,
        means={cell: of_users.mean(axis=0) for cell, of_users in values.items()},
        seed_std={cell: _deviation(metrics.seed_means) for cell, metrics in found.items()},
        samples=_resampled(values, config),
    )


def _resampled(values: dict[Cell, np.ndarray], config: ReportConfig) -> dict[Cell, np.ndarray]:
    """Bootstrap means of all cells at once, so that all see the same draws."""
    wide = np.concatenate(list(values.values()), axis=1)
    samples = bootstrap_means(wide, config.num_resamples, config.seed)
    return dict(zip(values, np.split(samples, len(values), axis=1), strict=True))


def _deviation(seed_means_SM: np.ndarray) -> np.ndarray:
    if len(seed_means_SM) < 2:
        return np.full(seed_means_SM.shape[1], np.nan)
    return np.asarray(seed_means_SM.std(axis=0, ddof=1))
