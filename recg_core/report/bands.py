"""For whom and for what a row is good: by length of the history and by events of the item.

What a practitioner asks of rows that need no training in the target: training-free ones, and those
of a trained model in which no backbone ranks there. Bands are the same for every target, so that
targets compare.

Legend: U users.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recg_core.base.schema import SLICES
from recg_core.report.cells import INTERACTIONS_MARK, MIN_USERS, Cell, Cells
from recg_core.report.config import FULL, ReportConfig
from recg_core.report.layout import Drawing, Entry, Table, bold_best, percent
from recg_core.report.panel import COLOURS, Line, lines_svg
from recg_core.report.per_user import TargetMetrics
from recg_core.report.wording import title_of


class Bands(NamedTuple):
    """A column of SLICES, what it is in words, and the first value of each band."""

    column: str
    words: str
    starts: tuple[int, ...]


BANDS = (
    Bands("history_length", "items in the user's history", (1, 5, 10, 20, 50)),
    Bands("popularity", "training events of the item that came next", (0, 1, 5, 20, 100)),
)


@dataclass(frozen=True)
class BandResult:
    """The headline NDCG of the rows of a target under full ranking, in each band that has users."""

    target: str
    attribute: Bands
    labels: tuple[str, ...]
    num_users: tuple[int, ...]
    trained: tuple[str, ...]  # the rows that are no training-free ones
    values: dict[str, tuple[float, ...]]  # by row, fractions


def measure_bands(
    cells: Cells, target: str, measured: TargetMetrics, folder: Path, config: ReportConfig
) -> Iterator[BandResult]:
    """Cut a target's users by each attribute.

    Args:
        measured: with the values of every user.
        folder: of the SLICES tables, whose attributes here are the same for every source.
    """
    column = config.columns.index((FULL, config.headline[1]))
    of_rows = _rows(cells, target)
    rows = {
        name: np.mean([measured.values.column(cell, column) for cell in of_row], axis=0)
        for name, of_row in of_rows.items()
    }
    frame = SLICES.read(folder / f"{cells.grid.sources[0]}_to_{target}.parquet")
    frame = frame.filter(pl.col("user_idx").is_in(measured.users.tolist())).sort("user_idx")
    for attribute in BANDS:
        column_U = frame[attribute.column].to_numpy()
        found = [(label, mask) for label, mask in bands(column_U, attribute.starts) if mask.any()]
        yield BandResult(
            target,
            attribute,
            tuple(label for label, _ in found),
            tuple(int(mask.sum()) for _, mask in found),
            tuple(name for name, of_row in of_rows.items() if of_row[0].trained),
            {name: tuple(float(v[mask].mean()) for _, mask in found) for name, v in rows.items()},
        )


def bands(values: np.ndarray, starts: tuple[int, ...]) -> list[tuple[str, np.ndarray]]:
    """Label and users (bool [U]) of each band, from its start to before the next; the last has no
    end."""
    found = []
    for start, following in zip(starts, (*starts[1:], None), strict=True):
        if following is None:
            found.append((f"{start} or more", values >= start))
            continue
        label = str(start) if following == start + 1 else f"{start} to {following - 1}"
        found.append((label, (values >= start) & (values < following)))
    return found


def _rows(cells: Cells, target: str) -> dict[str, list[Cell]]:
    """The cells of each row: of a trained one, those of all other sources with one backbone."""
    found: dict[str, list[Cell]] = {}
    for cell in cells.of_target(target):
        if cell.trained:
            first = cell.model.backbone == cells.grid.backbones[0]
            if cell.in_domain or not first or cell.certificate.backbone_ranks:
                continue
        mark = INTERACTIONS_MARK if cell.saw.target_interactions_used else ""
        found.setdefault(f"{cell.model.variant}{mark}", []).append(cell)
    return found


def bands_table(result: BandResult, metric: str) -> Table:
    """A line for each row, a column a band."""
    rows: list[tuple[Entry, ...]] = [
        (name, *map(percent, values)) for name, values in result.values.items()
    ]
    heads = [
        f"{label} ({count:,})" for label, count in zip(result.labels, result.num_users, strict=True)
    ]
    return Table(
        f"bands_{result.attribute.column}_{result.target}",
        f"{title_of(metric)} on {result.target} by {result.attribute.words}",
        "Percent, full ranking; in brackets the number of users, the best of each band in bold. "
        f"A band of fewer than {MIN_USERS} says next to nothing. {INTERACTIONS_MARK} reads "
        "histories of the target. Trained rows: means over sources.",
        1,
        ("Row", *heads),
        bold_best(rows),
    )


def bands_drawing(result: BandResult, metric: str) -> Drawing | None:
    """The trained rows, and the training-free ones that lead somewhere, as lines over bands.

    None where fewer than two bands have enough users to say anything.
    """
    kept = [index for index, count in enumerate(result.num_users) if count >= MIN_USERS]
    if len(kept) < 2:
        return None
    names = _drawn(result, kept)
    title = f"{title_of(metric)} on {result.target} by {result.attribute.words}, percent"
    lines = [Line(name, tuple(result.values[name][index] for index in kept)) for name in names]
    svg = lines_svg(title, [result.labels[index] for index in kept], lines)
    return Drawing(f"bands_{result.attribute.column}_{result.target}", f"{title}.", title, svg)


def _drawn(result: BandResult, kept: Sequence[int]) -> list[str]:
    """The rows of the picture: as many as there are colours, those that lead most bands first.

    Of rows that read histories of the target and of those that do not, the leaders of each.
    """
    free = [name for name in result.values if name not in result.trained]
    reading = [name for name in free if name.endswith(INTERACTIONS_MARK)]
    groups = (reading, [name for name in free if name not in reading])
    leaders = [
        max(group, key=lambda name: result.values[name][index])
        for group in groups if group
        for index in kept
    ]  # fmt: skip
    leading = sorted(dict.fromkeys(leaders), key=lambda name: -leaders.count(name))
    return [*result.trained, *leading][:COLOURS]
