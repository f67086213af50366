"""Every number of the report from stored ranks: means, intervals, tests, slices.

Legend: M columns (metrics under both protocols), B resamples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recg_core.report.bands import BandResult, measure_bands
from recg_core.report.cells import Cell, Cells
from recg_core.report.comparisons import Comparison, compare_target, corrected
from recg_core.report.config import ReportConfig
from recg_core.report.contexts import ContextResult, measure_contexts
from recg_core.report.parts import SliceResult, slice_target
from recg_core.report.per_user import TargetMetrics, UserValues, measure_target
from recg_core.report.statistics import interval


@dataclass(frozen=True)
class Analysis:
    """The results of a grid, with corrected p-values."""

    config: ReportConfig
    cells: Cells
    targets: dict[str, TargetMetrics]  # without the values of every user
    comparisons: list[Comparison]
    slices: list[SliceResult]
    bands: list[BandResult]  # of the targets that are not too small
    contexts: list[ContextResult]  # likewise

    def view(self, protocol: str, metric: str) -> "View":
        """One metric under one protocol."""
        return View(self, protocol, metric)

    def metrics(self, cell: Cell, protocol: str) -> dict[str, float]:
        """A cell's means over users and seeds under a protocol, as fractions."""
        means = self.targets[cell.target].means[cell]
        columns = zip(self.config.columns, means.tolist(), strict=True)
        return {metric: value for (name, metric), value in columns if name == protocol}

    @cached_property
    def found(self) -> dict[tuple[object, ...], Comparison]:
        """The comparisons by cell, protocol, metric and opponent."""
        return {(c.cell, c.protocol, c.metric, c.against): c for c in self.comparisons}


@dataclass(frozen=True)
class View:
    """The analysis seen through one metric under one protocol, in fractions."""

    analysis: Analysis
    protocol: str
    metric: str

    @cached_property
    def column(self) -> int:
        """Where the metric stands among the M columns."""
        return self.analysis.config.columns.index((self.protocol, self.metric))

    def value(self, cell: Cell) -> float:
        """A cell's mean over users and seeds."""
        return float(self.analysis.targets[cell.target].means[cell][self.column])

    def seed_std(self, cell: Cell) -> float:
        """A cell's standard deviation over seeds; nan with one seed."""
        return float(self.analysis.targets[cell.target].seed_std[cell][self.column])

    def samples(self, cells: Sequence[Cell]) -> np.ndarray:
        """Bootstrap draws [B] of the mean over cells."""
        targets = self.analysis.targets
        return np.mean([targets[c.target].samples[c][:, self.column] for c in cells], axis=0)

    def average(self, cells: Sequence[Cell]) -> tuple[float, float, float]:
        """Mean over cells, and the ends of its 95 % interval."""
        low, high = interval(self.samples(cells))
        return float(np.mean([self.value(cell) for cell in cells])), float(low), float(high)

    def best(self, cells: Iterable[Cell]) -> Cell:
        """The cell with the highest value, the first of equals."""
        return max(cells, key=self.value)

    def against(self, cell: Cell, opponent: str) -> Comparison | None:
        """The comparison of a cell with an opponent, if there is one."""
        return self.analysis.found.get((cell, self.protocol, self.metric, opponent))

    def comparisons(self, opponent: str) -> list[Comparison]:
        """The comparisons of all cells with an opponent."""
        asked = (self.protocol, self.metric, opponent)
        return [c for c in self.analysis.comparisons if (c.protocol, c.metric, c.against) == asked]


class _OfTarget(NamedTuple):
    measured: TargetMetrics
    compared: list[Comparison]
    parts: list[SliceResult]
    bands: list[BandResult]
    contexts: list[ContextResult]


def analyse(cells: Cells, slices: Path, config: ReportConfig) -> Analysis:
    """Read the ranks of every cell and derive all that the report says.

    Args:
        slices: folder of the SLICES tables.

    Raises:
        UserError: when ranks or slices are missing, damaged or not of the same users.
    """

    def of_target(name: str) -> _OfTarget:
        users = None if cells.users is None else cells.users[name]
        measured = measure_target(cells.of_target(name), config, users)
        compared = [] if cells.small(name) else compare_target(cells, measured, config)
        parts = list(slice_target(cells, name, measured, slices, config))
        within, read = [], []
        if not cells.small(name):
            within = list(measure_bands(cells, name, measured, slices, config))
            read = list(measure_contexts(cells, name, measured, config))
        measured = replace(measured, values=UserValues(np.empty((0, 0)), {}))
        return _OfTarget(measured, compared, parts, within, read)

    results = {name: of_target(name) for name in cells.grid.domains}
    return Analysis(
        config,
        cells,
        {name: found.measured for name, found in results.items()},
        corrected([c for found in results.values() for c in found.compared]),
        [part for found in results.values() for part in found.parts],
        [result for found in results.values() for result in found.bands],
        [result for found in results.values() for result in found.contexts],
    )
