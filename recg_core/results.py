"""The metrics cells of a grid, read back, and their summary as scalars."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.errors import UserError
from recg_core.files import read_json
from recg_core.metrics import NO_SOURCE, NUM_NEGATIVES

SAMPLED = f"sampled_{NUM_NEGATIVES}"
PROTOCOLS = {
    "full": "Full ranking: the test item among all items outside the user's history.",
    SAMPLED: f"The paper's protocol: the test item against {NUM_NEGATIVES} sampled negatives, as "
    "the exact expectation over samples.",
}
HEADLINE = ("recall@10", "ndcg@10")
INTERACTIONS_MARK, TEXT_MARK = "†", "‡"


@dataclass(frozen=True)
class Grid:
    """Which cells are current: the `grid` section and the variants that cannot transfer."""

    domains: tuple[str, ...]
    sources: tuple[str, ...]
    backbones: tuple[str, ...]
    variants: tuple[str, ...]
    in_domain_only: frozenset[str] = frozenset()  # of learned item ids

    def pairs(self, *, zero_shot: bool) -> list[tuple[str, str]]:
        """Source and target of the zero-shot (or in-domain) cells, by target."""
        return [
            (source, target)
            for target in self.domains
            for source in self.sources
            if (source != target) == zero_shot
        ]

    def models(self, *, zero_shot: bool) -> list[str]:
        """`<backbone>-<variant>` of every model that has such cells."""
        return [
            f"{backbone}-{variant}"
            for backbone in self.backbones
            for variant in self.variants
            if not (zero_shot and variant in self.in_domain_only)
        ]


@dataclass(frozen=True)
class Cell:
    """What the report reads of one metrics JSON."""

    num_seeds: int
    target_text_seen: bool
    target_interactions_used: bool
    metrics: dict[str, dict[str, float]]  # by protocol and metric name

    def marks(self) -> str:
        """The symbols that say what the cell saw of its target."""
        interactions = INTERACTIONS_MARK if self.target_interactions_used else ""
        return interactions + (TEXT_MARK if self.target_text_seen else "")


@dataclass(frozen=True)
class Cells:
    """The current cells: trained by (model, source, target), training-free by (row, target)."""

    trained: dict[tuple[str, str, str], Cell]
    training_free: dict[tuple[str, str], Cell]

    @property
    def rows(self) -> list[str]:
        """The names of the training-free rows."""
        return list(dict.fromkeys(row for row, _ in self.training_free))

    def rows_of(self, target: str, *, with_interactions: bool) -> dict[str, Cell]:
        """A target's training-free cells by row, with those that use interactions or without."""
        cells = {row: self.training_free[row, target] for row in self.rows}
        return {
            row: cell
            for row, cell in cells.items()
            if with_interactions or not cell.target_interactions_used
        }


def load_cells(folder: Path, grid: Grid) -> Cells:
    """Read the cells of the grid below `folder`; any other JSON there is left out.

    Raises:
        UserError: when a cell of the grid is missing, there twice or incomplete.
    """
    wanted = _wanted(grid)
    trained: dict[tuple[str, str, str], Cell] = {}
    training_free: dict[tuple[str, str], Cell] = {}
    for path in sorted(folder.rglob("*.json")):
        content = read_json(path)
        if not isinstance(content, dict) or not {"model", "source", "target"} <= content.keys():
            continue
        model, source, target = content["model"], content["source"], content["target"]
        if (model, source, target) in trained or (model, target) in training_free:
            raise UserError(f"{path}: the cell {model} {source}_to_{target} is there twice")
        if source == NO_SOURCE and target in grid.domains:
            training_free[model, target] = _cell(content, path)
        elif (model, source, target) in wanted:
            trained[model, source, target] = _cell(content, path)
    _check_complete(trained, training_free, grid, folder)
    return Cells({key: trained[key] for key in wanted}, training_free)


def build_summary(cells: Cells, grid: Grid) -> dict[str, Any]:
    """Recall@10 and NDCG@10 of every cell and the means over cells, as nested fractions.

    A training-free row's means weigh each target by its trained cells, so that they compare.

    Returns:
        `{model: {"IS_to_VG": {protocol: {metric: value}}, "mean_zero_shot": ...}}`, with
        `to_VG` for training-free rows.
    """
    summary: dict[str, Any] = {}
    for (model, source, target), cell in cells.trained.items():
        summary.setdefault(model, {})[f"{source}_to_{target}"] = _headline([cell])
    for (row, target), cell in cells.training_free.items():
        summary.setdefault(row, {})[f"to_{target}"] = _headline([cell])
    for name in summary:
        for key, zero_shot in (("mean_zero_shot", True), ("mean_in_domain", False)):
            if averaged := _averaged(cells, grid, name, zero_shot=zero_shot):
                summary[name][key] = _headline(averaged)
    return summary


def _wanted(grid: Grid) -> list[tuple[str, str, str]]:
    """Model, source and target of every trained cell of the grid."""
    return [
        (model, source, target)
        for zero_shot in (True, False)
        for model in grid.models(zero_shot=zero_shot)
        for source, target in grid.pairs(zero_shot=zero_shot)
    ]


def _cell(content: dict[str, Any], path: Path) -> Cell:
    try:
        return Cell(
            num_seeds=content["num_seeds"],
            target_text_seen=content["saw"]["target_text_seen"],
            target_interactions_used=content["saw"]["target_interactions_used"],
            metrics={protocol: content[protocol] for protocol in PROTOCOLS},
        )
    except KeyError as error:
        raise UserError(f"{path}: the cell lacks {error}; run its stage again") from error


def _check_complete(
    trained: dict[tuple[str, str, str], Cell],
    training_free: dict[tuple[str, str], Cell],
    grid: Grid,
    folder: Path,
) -> None:
    missing = [key for key in _wanted(grid) if key not in trained]
    if missing:
        model, source, target = missing[0]
        raise UserError(
            f"{folder}: {len(missing)} cell(s) of the grid are missing, the first is {model} "
            f"{source}_to_{target}; run the evaluate stage"
        )
    rows = {row for row, _ in training_free}
    if not rows or len(training_free) < len(rows) * len(grid.domains):
        raise UserError(
            f"{folder}: not every domain of the grid has its training-free rows; "
            "run the baselines stage"
        )


def _averaged(cells: Cells, grid: Grid, name: str, *, zero_shot: bool) -> list[Cell]:
    """The cells that the mean of a model or training-free row goes over; none: no mean."""
    pairs = grid.pairs(zero_shot=zero_shot)
    if name in cells.rows:
        return [cells.training_free[name, target] for _, target in pairs]
    found = [cells.trained.get((name, source, target)) for source, target in pairs]
    return [cell for cell in found if cell]


def _headline(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    return {
        protocol: {
            metric: sum(cell.metrics[protocol][metric] for cell in cells) / len(cells)
            for metric in HEADLINE
        }
        for protocol in PROTOCOLS
    }
