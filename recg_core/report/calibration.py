"""Whether full and sampled ranking put the models of a pair in the same order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from recg_core.evaluation.certificate import NO_SOURCE
from recg_core.report.cells import Cell
from recg_core.report.config import ReportConfig
from recg_core.report.per_user import FULL
from recg_core.report.statistics import interval
from recg_core.report.target_metrics import TargetMetrics


@dataclass(frozen=True)
class Calibration:
    """Two models of a pair that change places between full and sampled ranking, by NDCG."""

    source: str
    one: Cell
    other: Cell
    full: float  # NDCG of `one` minus that of `other`
    sampled: float
    clear: bool  # both 95 % intervals leave out 0


def calibrate(measured: TargetMetrics, config: ReportConfig) -> tuple[list[Calibration], int]:
    """What changes places within the pairs of one target, and the number of all twos of cells.

    All twos count, whatever they saw of the target: the question is about the protocols and not
    about which is better.
    """
    names = (FULL, config.protocols.sampled)
    full, sampled = (config.column(name, config.headline[1]) for name in names)
    reversals: list[Calibration] = []
    num_twos = 0
    for source, one, other in _twos(measured):
        num_twos += 1
        differences = measured.means[one] - measured.means[other]
        if differences[full] * differences[sampled] >= 0:
            continue
        spread = measured.samples[one] - measured.samples[other]
        ends = (interval(spread[:, column]) for column in (full, sampled))
        clear = all((low > 0) == (high > 0) for low, high in ends)
        shifts = float(differences[full]), float(differences[sampled])
        reversals.append(Calibration(source, one, other, *shifts, clear))
    return reversals, num_twos


def _twos(measured: TargetMetrics) -> Iterator[tuple[str, Cell, Cell]]:
    """Source and two cells of every pair; two training-free rows come once a target."""
    sources = list(dict.fromkeys(cell.source for cell in measured.means if cell.trained))
    for source in sources:
        cells = [cell for cell in measured.means if cell.source in (source, NO_SOURCE)]
        for one, other in combinations(cells, 2):
            if one.trained or other.trained or source == sources[0]:
                yield source, one, other
