"""How many histories of a target until a row beats texts, until it beats training there.

Legend: U users, C columns (rows with so many histories, and levels).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recg_core.base.sources import in_domain
from recg_core.models.ranking.ranks import CONTEXTS, SeedRanks, read_ranks
from recg_core.report.cells import INTERACTIONS_MARK, Cell, Cells
from recg_core.report.config import FULL, ReportConfig
from recg_core.report.layout import Drawing, Entry, Number, Table, bold_best, percent
from recg_core.report.panel import Line, lines_svg
from recg_core.report.per_user import TargetMetrics, user_values
from recg_core.report.statistics import bootstrap_means, interval
from recg_core.report.wording import title_of


class Mean(NamedTuple):
    """A mean over users, a fraction, and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Level(NamedTuple):
    """What reads no part of the histories, and from how many on rows are surely above it."""

    beaten: str  # what it is, in words
    name: str  # of the row
    value: float
    since: dict[str, int | None]  # by row, a number of histories; None: not with all of them


@dataclass(frozen=True)
class ContextResult:
    """The headline NDCG of rows of a target under full ranking, by histories read."""

    target: str
    num_users: int
    histories: tuple[int, ...]
    rows: dict[str, tuple[Mean, ...]]  # by name, one for each of the histories
    levels: tuple[Level, ...]


def measure_contexts(
    cells: Cells, target: str, measured: TargetMetrics, config: ReportConfig
) -> Iterator[ContextResult]:
    """The curves of each variant that was evaluated with parts of a target's histories.

    Args:
        measured: with the values of every user.

    Raises:
        UserError: when ranks are missing or damaged.
    """
    for variant in cells.grid.variants:
        of_variant = [
            cell
            for cell in cells.of_target(target)
            if cell.model.variant == variant and cell.trained and not cell.in_domain
        ]
        folder = of_variant[0].ranks.parents[1] / CONTEXTS / target if of_variant else None
        if folder is not None and folder.is_dir():
            yield _measured(cells, variant, target, folder, measured, config)


def _measured(
    cells: Cells,
    variant: str,
    target: str,
    folder: Path,
    measured: TargetMetrics,
    config: ReportConfig,
) -> ContextResult:
    sources = [source for source in cells.grid.sources if not in_domain(source, target)]
    sizes = tuple(sorted(int(place.name) for place in folder.glob("[0-9]*")))
    free = [path.stem for path in sorted((folder / str(sizes[0])).glob("*.parquet"))]
    files = {f"{variant}{INTERACTIONS_MARK}": [f"from_{source}" for source in sources]}
    files |= {f"{name}{INTERACTIONS_MARK}": [name] for name in free if name[:5] != "from_"}
    column = config.columns.index((FULL, config.headline[1]))
    ranks = [
        [read_ranks(folder / str(size) / f"{name}.parquet").of_users(measured.users) for name in of]
        for of in files.values()
        for size in sizes
    ]
    users = ranks[0][0].users
    chosen = np.isin(measured.users, users)
    values = [_of_users(tables, config, column) for tables in ranks]
    levels = []
    for beaten, field in _fields(cells, variant, target).items():
        of_field = [(str(c.model), measured.values.column(c, column)[chosen]) for c in field]
        if of_field:
            levels.append((beaten, *max(of_field, key=lambda found: float(found[1].mean()))))
    wide_UC = np.stack([*values, *(of_level for _, _, of_level in levels)], axis=1)
    samples = bootstrap_means([wide_UC], len(wide_UC), config.num_resamples, config.seed)
    means = [Mean(*of) for of in zip(wide_UC.mean(axis=0), *interval(samples), strict=True)]
    places = {n: slice(i * len(sizes), (i + 1) * len(sizes)) for i, n in enumerate(files)}
    found = []
    for place, (beaten, name, _) in enumerate(levels, len(values)):
        above = interval(samples - samples[:, [place]])[0] > 0
        since = {row: _since(sizes, above[of]) for row, of in places.items()}
        found.append(Level(beaten, name, float(means[place].value), since))
    rows = {row: tuple(means[of]) for row, of in places.items()}
    return ContextResult(target, len(users), sizes, rows, tuple(found))


def _of_users(tables: list[SeedRanks], config: ReportConfig, column: int) -> np.ndarray:
    """The metric of every user, the mean over tables and their seeds."""
    values = user_values(range(len(tables)), tables.__getitem__, config)
    return np.asarray(np.mean([values.column(row, column) for row in values.places], axis=0))


def _fields(cells: Cells, variant: str, target: str) -> dict[str, list[Cell]]:
    """Of each level, the cells of which the best is it."""
    found = cells.of_target(target)
    texts = [c for c in found if not c.trained and c.model.variant.startswith("knn")]
    texts = [c for c in texts if not c.saw.target_interactions_used]
    trained = [c for c in found if c.trained and c.in_domain and c.model.variant != variant]
    return {"texts alone": texts, f"training on {target}": trained}


def _since(sizes: tuple[int, ...], above: np.ndarray) -> int | None:
    """The first size from which on all are above."""
    wrong = np.flatnonzero(~above)
    first = int(wrong[-1]) + 1 if len(wrong) else 0
    return sizes[first] if first < len(sizes) else None


def contexts_table(result: ContextResult, metric: str) -> Table:
    """A line for each row and level, a column for each number of histories."""
    rows: list[tuple[Entry, ...]] = []
    for name, means in result.rows.items():
        notes = [f"({100 * mean.low:.2f} to {100 * mean.high:.2f})" for mean in means]
        of = zip(means, notes, strict=True)
        rows.append((name, *(percent(mean.value, note=note) for mean, note in of)))
    for level in result.levels:
        same = [percent(level.value)] * len(result.histories)
        rows.append((f"{level.name} ({level.beaten})", *same))
    since = [[level.since.get(name) for level in result.levels] for name in result.rows]
    since += [[None] * len(result.levels)] * len(result.levels)
    ends = [[Number(size, form=",.0f") for size in of_row] for of_row in since]
    return Table(
        f"contexts_{result.target}",
        f"{title_of(metric)} on {result.target} by histories read",
        f"Percent, full ranking, {result.num_users:,} test users, with 95 % bootstrap intervals "
        f"over them; the best of each number in bold. {INTERACTIONS_MARK} reads so many users' "
        "histories of the target, which are drawn by chance, the larger numbers with the smaller. "
        "Trained rows: means over sources.",
        1,
        (
            "Row",
            *(f"{size:,}" for size in result.histories),
            *(f"Above {level.beaten} from" for level in result.levels),
        ),
        tuple((*row, *end) for row, end in zip(bold_best(rows), ends, strict=True)),
    )


def contexts_drawing(result: ContextResult, metric: str) -> Drawing:
    """The rows as lines over numbers of histories, the levels as dashed lines."""
    title = f"{title_of(metric)} on {result.target} by histories read, percent"
    lines = [
        Line(name, tuple(m.value for m in means), tuple((m.low, m.high) for m in means))
        for name, means in result.rows.items()
    ]
    lines += [
        Line(f"{level.beaten}: {level.name}", (level.value,) * len(result.histories), dashed=True)
        for level in result.levels
    ]
    labels = [f"{size:,}" for size in result.histories]
    svg = lines_svg(title, labels, lines)
    caption = f"{title}. {_said(result)}".rstrip()
    return Drawing(f"contexts_{result.target}", caption, title, svg)


def _said(result: ContextResult) -> str:
    """From how many histories on the variant, the first of the rows, is above each level."""
    name, most = next(iter(result.rows)), result.histories[-1]
    words = [
        f"above {level.beaten} from {size:,} of {most:,} histories on"
        if (size := level.since[name])
        else f"not above {level.beaten}, even with all {most:,}"
        for level in result.levels
    ]
    return f"`{name}` is {', and '.join(words)}." if words else ""
