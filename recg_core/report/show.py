"""The metrics of every cell as plain text that fits a terminal."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json
from recg_core.base.sources import in_domain
from recg_core.evaluation.certificate import NO_SOURCE
from recg_core.report.cells import (
    INTERACTIONS_USED,
    METRICS_DIGESTS,
    SMALL,
    SMALL_MARK,
    TOO_SMALL,
    competes,
    metrics_digest,
    pair_of,
    summary_key,
)

PROTOCOLS = ("full", "sampled")
BEST, USED = "*", "+"
GAP = "  "  # between columns

Pair = tuple[str, str]  # source, NO_SOURCE of training-free rows, and target


@dataclass(frozen=True)
class Shown:
    """A model's metric on a pair."""

    model: str
    trained: bool
    used: bool  # interactions of the target
    small: bool  # its target is too small to mean anything
    percent: str


def show_results(folder: Path, protocol: str, metric: str, width: int) -> str:
    """A table with a row a model and a column a pair; in blocks where `width` is too small.

    Args:
        folder: holds what the report stage wrote: `full`, `sampled` and `summary.json`.
        protocol: `full` or `sampled`.
        metric: such as `ndcg@10`.
        width: of the terminal, in characters.

    Raises:
        UserError: when there are no such results, they are damaged, or the protocol or metric is
            unknown.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol '{protocol}': expected one of {list(PROTOCOLS)}")
    place = folder / protocol
    files = {
        path.relative_to(place).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(place.glob("*/*.json"))
    }
    if not files:
        raise UserError(
            f"{place}: no metrics there; run `dvc repro`, or name the folder of results"
        )
    summary = read_sealed_json(folder / "summary.json", "run the report stage")
    if metrics_digest(files) != summary[METRICS_DIGESTS][protocol]:
        raise UserError(
            f"{place}: holds other files than the report wrote; run the report stage again "
            "(`dvc repro -f -s report`)"
        )
    values = _values(files, place, metric)
    pairs = [pair for pair in values if pair[0] != NO_SOURCE]
    pairs.sort(key=lambda pair: (in_domain(*pair), pair))  # zero-shot pairs first
    shown = {pair: list(_cells(values, summary, pair)) for pair in pairs}
    trained = {cell.model: cell.trained for of_pair in shown.values() for cell in of_pair}
    models = sorted(trained, key=lambda model: (not trained[model], model))
    columns = [_column(pair, of_pair, models) for pair, of_pair in shown.items()]
    said = f"{metric}, {protocol} ranking, in %. {BEST} best of its column."
    if any(text.endswith(USED) for column in columns for text in column):
        said += f" {USED} uses interactions of the target and does not compete there."
    if any(column[1].endswith(SMALL_MARK) for column in columns):
        said += f" {SMALL}"
    labels = ["from", "to", *models]
    labels = [label.ljust(max(map(len, labels))) for label in labels]
    blocks = [_block(labels, part) for part in _parts(columns, width - len(labels[0]))]
    return "\n\n".join([textwrap.fill(said, width), *blocks])


def _values(files: Mapping[str, str], place: Path, metric: str) -> dict[Pair, dict[str, float]]:
    """The metric of every model by source and target."""
    found: dict[Pair, dict[str, float]] = {}
    for name, text in files.items():
        content, path = json.loads(text), place / name
        if metric not in content:
            raise UserError(f"{path}: no metric '{metric}'; there are {sorted(content)}")
        found.setdefault(pair_of(path.parent.name), {})[path.stem] = content[metric]
    return found


def _cells(
    values: Mapping[Pair, Mapping[str, float]], summary: Mapping[str, Any], pair: Pair
) -> Iterator[Shown]:
    """The trained models of a pair and the training-free rows of its target."""
    for source, target in (pair, (NO_SOURCE, pair[1])):
        key = summary_key(source, target)
        for model, value in values.get((source, target), {}).items():
            known = summary.get(model, {}).get(key, {})
            used = known.get(INTERACTIONS_USED)
            if used is None:
                raise UserError(f"summary.json: no {key} of {model}; run the report stage again")
            small = known.get(TOO_SMALL, False)
            yield Shown(model, source != NO_SOURCE, used, small, f"{100 * value:.2f}")


def _column(pair: Pair, cells: Sequence[Shown], models: Sequence[str]) -> list[str]:
    """Two lines of head and a text for every model, the best of those that compete marked.

    Every text ends in the place of its mark, so that heads end where numbers do.
    """
    source, target = pair
    competing = [
        cell
        for cell in cells
        if competes(
            trained=cell.trained, used=cell.used, with_interactions=in_domain(source, target)
        )
        and not cell.small
    ]
    best = max((float(cell.percent) for cell in competing), default=None)
    texts = {}
    for cell in cells:
        mark = USED if cell.used and not cell.small else " "
        if cell in competing:
            mark = BEST if float(cell.percent) == best else " "
        texts[cell.model] = cell.percent + mark
    sign = SMALL_MARK if any(cell.small for cell in cells) else " "
    return [f"{source} ", f"{target}{sign}", *(texts.get(model, "- ") for model in models)]


def _parts(columns: Sequence[list[str]], width: int) -> Iterator[list[list[str]]]:
    """As many columns at a time as fit beside the names, one at least; texts padded."""
    part: list[list[str]] = []
    taken = 0
    for column in columns:
        longest = max(map(len, column))
        if part and taken + len(GAP) + longest > width:
            yield part
            part, taken = [], 0
        part.append([text.rjust(longest) for text in column])
        taken += len(GAP) + longest
    yield part


def _block(labels: Sequence[str], columns: Sequence[list[str]]) -> str:
    lines = zip(labels, *columns, strict=True)
    return "\n".join(GAP.join(line).rstrip() for line in lines)
