"""Trained cells against those that they are measured by: differences, intervals, tests.

Legend: U users, M columns (metrics under both protocols), B resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.base.threads import in_threads
from recg_core.report.cells import REFERENCE, Cell, Cells, Model
from recg_core.report.config import ReportConfig
from recg_core.report.per_user import THREADS, TargetMetrics
from recg_core.report.statistics import (
    interval,
    judged,
    paired_t_test,
    relative_interval,
    wilcoxon_test,
)

TRAINING_FREE = "training-free"  # the opponent of that name is the best such row


@dataclass(frozen=True)
class Comparison:
    """A trained cell against another over the same users, in fractions."""

    cell: Cell
    protocol: str
    metric: str
    against: str  # REFERENCE or TRAINING_FREE
    other: Cell
    difference: float
    low: float  # ends of 95 % bootstrap intervals
    high: float
    relative: float  # difference / value of the other cell; nan where that is 0
    relative_low: float
    relative_high: float
    p_t: float  # corrected by Holm over a table's cells of this metric, protocol and `against`
    p_wilcoxon: float
    verdict: str  # better | worse | unclear, by p_t


def compare_target(cells: Cells, measured: TargetMetrics, config: ReportConfig) -> list[Comparison]:
    """Every trained cell of a target against the reference and the best training-free row.

    The p-values are not corrected yet.
    """

    def of_cell(cell: Cell) -> list[Comparison]:
        rivals, own_UM = cells.rivals(cell), measured.values.of(cell)
        model = Model(cell.model.backbone, REFERENCE)
        found: list[Comparison] = []
        reference = [rival for rival in rivals.trained if rival.model == model]
        if reference and cell not in reference:
            found += _compare(cell, own_UM, REFERENCE, reference, measured, config)
        free = rivals.training_free
        return found + list(_compare(cell, own_UM, TRAINING_FREE, free, measured, config))

    trained = [cell for cell in measured.means if cell.trained]
    return [comparison for of in in_threads(of_cell, trained, THREADS) for comparison in of]


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of all targets with p-values corrected by Holm, and verdicts.

    A family is what one column of a table tests: all cells of zero-shot (or in-domain) models for
    one metric, protocol and kind of opponent.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for index, c in enumerate(comparisons):
        family = (c.cell.in_domain, c.protocol, c.metric, c.against)
        families.setdefault(family, []).append(index)
    found = list(comparisons)
    for members in families.values():
        in_family = judged([comparisons[index] for index in members])
        for index, comparison in zip(members, in_family, strict=True):
            found[index] = comparison
    return found


def _compare(
    cell: Cell,
    own_UM: np.ndarray,
    against: str,
    rivals: Sequence[Cell],
    measured: TargetMetrics,
    config: ReportConfig,
) -> Iterator[Comparison]:
    """A comparison for each column, with the best of the rivals by that column.

    Args:
        own_UM: the values of the cell's users.
    """
    stacked = np.stack([measured.means[rival] for rival in rivals])
    best = [rivals[row] for row in stacked.argmax(axis=0)]
    other_UM = np.empty_like(own_UM)
    for rival in set(best):
        columns = [i for i, row in enumerate(best) if row == rival]
        other_UM[:, columns] = measured.values.of(rival)[:, columns]
    other_BM = np.stack([measured.samples[row][:, i] for i, row in enumerate(best)], axis=1)
    differences_UM = own_UM - other_UM
    p_t, p_wilcoxon = paired_t_test(differences_UM), wilcoxon_test(differences_UM)
    low, high = interval(measured.samples[cell] - other_BM)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = measured.means[cell] / stacked.max(axis=0) - 1
    relative_low, relative_high = relative_interval(measured.samples[cell], other_BM)
    for i, (protocol, metric) in enumerate(config.columns):
        yield Comparison(
            cell, protocol, metric, against, best[i],
            float(differences_UM[:, i].mean()), float(low[i]), float(high[i]),
            float(relative[i]), float(relative_low[i]), float(relative_high[i]),
            float(p_t[i]), float(p_wilcoxon[i]), "unclear",
        )  # fmt: skip
