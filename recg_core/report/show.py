"""The metrics of every cell as plain text that fits a terminal."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.report.cells import competes
from recg_core.report.places import INTERACTIONS_USED, metrics_folder, pair_of, summary_key

PROTOCOLS = ("full", "sampled")
BEST, USED = "*", "+"
GAP = 2  # spaces between columns


@dataclass(frozen=True)
class Shown:
    """A model's metric on a pair; a training-free row has its target's on every pair."""

    model: str
    trained: bool
    used: bool  # interactions of the target
    value: float  # a fraction


@dataclass(frozen=True)
class Column:
    """A pair of domains: two lines of head and a text for every model that was ranked there.

    Every text ends in the place of its mark, so that heads end where numbers do.
    """

    heads: tuple[str, str]
    texts: dict[str, str]  # by model

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, (*self.heads, *self.texts.values())))


def show_results(folder: Path, protocol: str, metric: str, width: int) -> str:
    """A table with a row a model and a column a pair; in blocks where `width` is too small.

    Args:
        folder: holds what the report stage wrote: `full`, `sampled` and `summary.json`.
        protocol: `full` or `sampled`.
        metric: such as `ndcg@10`.
        width: of the terminal, in characters.

    Raises:
        UserError: when there are no such results, or the protocol or metric is unknown.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol '{protocol}': expected one of {list(PROTOCOLS)}")
    pairs = read_pairs(folder, protocol, metric)
    columns = [_column(*pair, cells) for pair, cells in pairs.items()]
    trained = {cell.model: cell.trained for cells in pairs.values() for cell in cells}
    models = sorted(trained, key=lambda model: (not trained[model], model))
    said = f"{metric}, {protocol} ranking, in %. {BEST} best of its column."
    if any(text.endswith(USED) for column in columns for text in column.texts.values()):
        said += f" {USED} uses interactions of the target and does not compete there."
    blocks = [_block(models, part) for part in _parts(columns, width - _label_width(models))]
    return "\n\n".join([textwrap.fill(said, width), *blocks])


def read_pairs(folder: Path, protocol: str, metric: str) -> dict[tuple[str, str], list[Shown]]:
    """Every model's metric by source and target, zero-shot pairs first.

    Raises:
        UserError: when there are no results, or none of that metric.
    """
    found: dict[str, dict[str, float]] = {}
    for path in sorted((folder / protocol).glob("*/*.json")):
        found.setdefault(path.parent.name, {})[path.stem] = _value(path, metric)
    pairs = [pair for name in found if (pair := pair_of(name))]
    if not pairs:
        raise UserError(
            f"{folder / protocol}: no metrics there; run `dvc repro`, or name the folder of results"
        )
    summary = read_json(folder / "summary.json")
    return {
        (source, target): [
            *_shown(found, summary, source, target),
            *_shown(found, summary, None, target),
        ]
        for source, target in sorted(pairs, key=lambda pair: (pair[0] == pair[1], pair))
    }


def _value(path: Path, metric: str) -> float:
    content = read_json(path)
    if metric not in content:
        raise UserError(f"{path}: no metric '{metric}'; there are {sorted(content)}")
    return float(content[metric])


def _shown(
    found: Mapping[str, Mapping[str, float]],
    summary: Mapping[str, Any],
    source: str | None,
    target: str,
) -> Iterator[Shown]:
    """The cells of a pair or, without a source, the training-free rows of a target."""
    key = summary_key(source, target)
    for model, value in found.get(metrics_folder(source, target), {}).items():
        used = summary.get(model, {}).get(key, {}).get(INTERACTIONS_USED)
        if used is None:
            raise UserError(f"summary.json: no {key} of {model}; run the report stage again")
        yield Shown(model, source is not None, used, value)


def _column(source: str, target: str, cells: Sequence[Shown]) -> Column:
    """The texts of a pair, the best of those that compete there marked."""
    competing = [
        cell.model
        for cell in cells
        if competes(trained=cell.trained, used=cell.used, with_interactions=source == target)
    ]
    percent = {cell.model: f"{100 * cell.value:.2f}" for cell in cells}
    best = max((float(percent[model]) for model in competing), default=None)
    texts = {}
    for cell in cells:
        if cell.model in competing:
            mark = BEST if float(percent[cell.model]) == best else " "
        else:
            mark = USED if cell.used else " "
        texts[cell.model] = percent[cell.model] + mark
    return Column((f"{source} ", f"{target} "), texts)


def _parts(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """As many columns at a time as fit beside the names, one at least."""
    part: list[Column] = []
    taken = 0
    for column in columns:
        if part and taken + GAP + column.width > width:
            yield part
            part, taken = [], 0
        part.append(column)
        taken += GAP + column.width
    yield part


def _label_width(models: Sequence[str]) -> int:
    return max(map(len, ["from", *models]))


def _block(models: Sequence[str], columns: Sequence[Column]) -> str:
    rows = [
        ("from", [column.heads[0] for column in columns]),
        ("to", [column.heads[1] for column in columns]),
        *((model, [column.texts.get(model, "- ") for column in columns]) for model in models),
    ]
    lines = []
    for label, texts in rows:
        places = zip(texts, columns, strict=True)
        shown = "".join(" " * GAP + text.rjust(column.width) for text, column in places)
        lines.append((label.ljust(_label_width(models)) + shown).rstrip())
    return "\n".join(lines)
