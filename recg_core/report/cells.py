"""The metrics cells of a grid, read back: what each model saw, and where its ranks are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.ranking.metrics import NO_SOURCE

REFERENCE = "sem"  # the variant that improvements are relative to
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
    """What the report reads of one metrics JSON, and where its ranks are."""

    num_seeds: int
    num_users: int
    mean_candidates: float
    saw: dict[str, Any]
    ranks: Path

    @property
    def target_interactions_used(self) -> bool:
        """Whether the model used interactions of the target."""
        return bool(self.saw["target_interactions_used"])

    def marks(self) -> str:
        """The symbols that say what the cell saw of its target."""
        interactions = INTERACTIONS_MARK if self.target_interactions_used else ""
        return interactions + (TEXT_MARK if self.saw["target_text_seen"] else "")


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
        """A target's training-free cells: without target interactions, or all of them."""
        cells = {row: self.training_free[row, target] for row in self.rows}
        return {
            row: cell
            for row, cell in cells.items()
            if with_interactions or not cell.target_interactions_used
        }

    def of_target(self, target: str) -> dict[tuple[str, str], Cell]:
        """All cells of a target by name and source, trained models first."""
        trained = {(m, s): cell for (m, s, t), cell in self.trained.items() if t == target}
        free = {(row, NO_SOURCE): self.training_free[row, target] for row in self.rows}
        return {**trained, **free}


def load_cells(metrics: Path, ranks: Path, grid: Grid) -> Cells:
    """Read the cells of the grid below `metrics`; any other JSON there is left out.

    Args:
        ranks: holds the ranks of each cell at the place that its JSON has below `metrics`.

    Raises:
        UserError: when a cell of the grid is missing, there twice or incomplete.
    """
    wanted = _wanted(grid)
    trained: dict[tuple[str, str, str], Cell] = {}
    training_free: dict[tuple[str, str], Cell] = {}
    for path in sorted(metrics.rglob("*.json")):
        content = read_json(path)
        if not isinstance(content, dict) or not {"model", "source", "target"} <= content.keys():
            continue
        model, source, target = content["model"], content["source"], content["target"]
        if (model, source, target) in trained or (model, target) in training_free:
            raise UserError(f"{path}: the cell {model} {source}_to_{target} is there twice")
        place = (ranks / path.relative_to(metrics)).with_suffix(".parquet")
        if source == NO_SOURCE and target in grid.domains:
            training_free[model, target] = _cell(content, path, place)
        elif (model, source, target) in wanted:
            trained[model, source, target] = _cell(content, path, place)
    _check_complete(trained, training_free, grid, metrics)
    return Cells({key: trained[key] for key in wanted}, training_free)


def _wanted(grid: Grid) -> list[tuple[str, str, str]]:
    """Model, source and target of every trained cell of the grid."""
    return [
        (model, source, target)
        for zero_shot in (True, False)
        for model in grid.models(zero_shot=zero_shot)
        for source, target in grid.pairs(zero_shot=zero_shot)
    ]


def _cell(content: dict[str, Any], path: Path, ranks: Path) -> Cell:
    try:
        saw = content["saw"]
        for key in ("target_text_seen", "target_interactions_used"):
            saw[key]
        return Cell(
            content["num_seeds"], content["num_users"], content["mean_candidates"], saw, ranks
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
