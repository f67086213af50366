"""Whether full and sampled ranking put the models of a pair in the same order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from recg_core.evaluation.certificate import NO_SOURCE
from recg_core.report.analysis import Analysis
from recg_core.report.cells import Cell, Cells
from recg_core.report.config import FULL
from recg_core.report.layout import Entry, Section, Table, percent
from recg_core.report.statistics import interval
from recg_core.report.wording import fewer_negatives, title_of, yes_or_no


@dataclass(frozen=True)
class Reversal:
    """Two models of a pair that change places between full and sampled ranking, by NDCG."""

    source: str
    one: Cell
    other: Cell
    full: float  # NDCG of `one` minus that of `other`
    sampled: float
    clear: bool  # both 95 % intervals leave out 0


def calibration_section(analysis: Analysis) -> Section:
    """The twos of a pair's models that change places, the clear ones of each target first."""
    config = analysis.config
    cells = analysis.cells
    counted = cells.large
    if not counted:
        return Section("Full against sampled ranking")
    found = [r for domain in counted for r in reversals(analysis, domain)]
    rows: list[tuple[Entry, ...]] = [
        (
            r.one.target, r.source, str(r.one.model), str(r.other.model),
            percent(r.full, form="+.2f"), percent(r.sampled, form="+.2f"), yes_or_no(r.clear),
        )
        for r in found
    ]  # fmt: skip
    table = Table(
        "calibration",
        "Pairs in another order",
        f"{title_of(config.headline[1])} of the first row minus that of the second under each "
        "protocol, in points; clear where both 95 % intervals leave out 0.",
        4,
        ("Target", "Source", "One", "Other", "Full", "Sampled", "Clear"),
        tuple(rows),
    )
    num_twos = sum(len(list(_twos(cells, domain))) for domain in counted)
    said = (
        f"Of {num_twos:,} pairs of rows with the same source and target, {len(rows):,} change "
        f"places between full ranking and {config.num_negatives} sampled negatives"
        f"{fewer_negatives(cells, counted, config.num_negatives)}; in "
        f"{sum(r.clear for r in found):,} of them both differences are clear of 0."
    )
    return Section("Full against sampled ranking", (said,), (table,) if rows else ())


def reversals(analysis: Analysis, target: str) -> list[Reversal]:
    """What changes places within the pairs of one target, the clear ones first.

    All twos of cells are looked at, whatever they saw of the target: the question is about the
    protocols and not about which is better.
    """
    config, measured = analysis.config, analysis.targets[target]
    columns = [config.columns.index((p, config.headline[1])) for p in (FULL, config.sampled)]
    found = []
    for source, one, other in _twos(analysis.cells, target):
        full, sampled = (measured.means[one] - measured.means[other])[columns].tolist()
        if full * sampled < 0:
            samples = measured.samples[one] - measured.samples[other]
            low, high = interval(samples[:, columns])
            clear = bool(((low > 0) == (high > 0)).all())
            found.append(Reversal(source, one, other, full, sampled, clear))
    return sorted(found, key=lambda r: (not r.clear, -abs(r.sampled)))


def _twos(cells: Cells, target: str) -> Iterator[tuple[str, Cell, Cell]]:
    """Source and two cells of every pair; two training-free rows come once a target."""
    of_target = cells.of_target(target)
    sources = list(dict.fromkeys(cell.source for cell in of_target if cell.trained))
    for source in sources:
        of_pair = [cell for cell in of_target if cell.source in (source, NO_SOURCE)]
        for one, other in combinations(of_pair, 2):
            if one.trained or other.trained or source == sources[0]:
                yield source, one, other
