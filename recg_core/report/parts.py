"""The cells of a pair of domains on parts of its users.

Legend: U users.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.schema import SLICES
from recg_core.base.sources import in_domain
from recg_core.evaluation.slices import slice_masks
from recg_core.report.cells import MIN_USERS, Cell, Cells
from recg_core.report.config import FULL, ReportConfig
from recg_core.report.per_user import TargetMetrics
from recg_core.report.statistics import t_interval


@dataclass(frozen=True)
class SliceResult:
    """The cells of one source -> target pair on some of its users: NDCG under full ranking."""

    source: str
    target: str
    attribute: str
    label: str
    num_users: int
    values: dict[Cell, float]  # trained models of the source, then the best training-free row
    best_free: Cell
    difference: float  # the best model's minus the best training-free row's
    low: float
    high: float
    small: bool  # too few users for a difference to mean anything


def slice_target(
    cells: Cells, target: str, measured: TargetMetrics, folder: Path, config: ReportConfig
) -> Iterator[SliceResult]:
    """Cut every pair of a target; zero-shot pairs by models that use no target interactions.

    Args:
        folder: of the SLICES tables.

    Raises:
        UserError: when a table is missing, damaged or of other users.
    """
    column = config.columns.index((FULL, config.headline[1]))
    for source in cells.grid.sources:
        path = folder / f"{source}_to_{target}.parquet"
        frame = SLICES.read(path).sort("user_idx")
        if cells.users is not None:
            frame = frame.filter(pl.col("user_idx").is_in(cells.users[target].tolist()))
        if not np.array_equal(frame["user_idx"].to_numpy(), measured.users):
            raise UserError(f"{path}: other users than those ranked; run the slices stage again")
        field = cells.competition(source, target, with_interactions=in_domain(source, target))
        if not field.trained:
            continue
        best_free = _best(field.training_free, measured, column)
        best = _best(field.trained, measured, column)
        shown = {cell: measured.values.column(cell, column) for cell in [*field.trained, best_free]}
        for attribute, label, mask in slice_masks(frame):
            difference_U = shown[best][mask] - shown[best_free][mask]
            low, high = t_interval(difference_U)
            yield SliceResult(
                source, target, attribute, label, int(mask.sum()),
                {cell: float(value[mask].mean()) for cell, value in shown.items()},
                best_free, float(difference_U.mean()), low, high,
                bool(mask.sum() < MIN_USERS) or cells.small(target),
            )  # fmt: skip


def _best(cells: Sequence[Cell], measured: TargetMetrics, column: int) -> Cell:
    return max(cells, key=lambda cell: float(measured.means[cell][column]))
