"""The cells of a grid as they were evaluated, and which of them compete with which."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.evaluation.certificate import NO_SOURCE, Certificate, Saw

REFERENCE = "sem"  # the variant that improvements are relative to
INTERACTIONS_MARK, TEXT_MARK = "†", "‡"


class Model(NamedTuple):
    """A variant of a backbone or, without a backbone, a training-free row."""

    backbone: str | None
    variant: str

    def __str__(self) -> str:
        return self.variant if self.backbone is None else f"{self.backbone}-{self.variant}"

    @property
    def reference(self) -> "Model":
        """The model that improvements of this one are relative to."""
        return Model(self.backbone, REFERENCE)


@dataclass(frozen=True)
class Grid:
    """Which cells are current: the `grid` section.

    Args:
        in_domain_only: the variants whose models cannot transfer, as their certificates say.
    """

    domains: tuple[str, ...]
    sources: tuple[str, ...]
    backbones: tuple[str, ...]
    variants: tuple[str, ...]
    in_domain_only: frozenset[str] = frozenset()

    def pairs(self, *, zero_shot: bool) -> list[tuple[str, str]]:
        """Source and target of the zero-shot (or in-domain) cells, by target."""
        return [
            (source, target)
            for target in self.domains
            for source in self.sources
            if (source != target) == zero_shot
        ]

    def models(self, *, zero_shot: bool) -> list[Model]:
        """Every trained model that has such cells."""
        return [
            Model(backbone, variant)
            for backbone in self.backbones
            for variant in self.variants
            if not (zero_shot and variant in self.in_domain_only)
        ]


@dataclass(frozen=True)
class Cell:
    """A model on a source -> target pair; the source of a training-free row is NO_SOURCE."""

    certificate: Certificate
    ranks: Path

    @property
    def model(self) -> Model:
        """Whose cell it is."""
        return Model(self.certificate.backbone, self.certificate.variant)

    @property
    def source(self) -> str:
        """The domain that the model was trained on."""
        return self.certificate.source

    @property
    def target(self) -> str:
        """The domain whose items were ranked."""
        return self.certificate.target

    @property
    def saw(self) -> Saw:
        """What the model saw of the target."""
        return self.certificate.saw

    @property
    def trained(self) -> bool:
        """Whether it is no training-free row."""
        return self.source != NO_SOURCE

    @property
    def marks(self) -> str:
        """The symbols that say what the model saw of the target."""
        interactions = INTERACTIONS_MARK if self.saw.target_interactions_used else ""
        return interactions + (TEXT_MARK if self.saw.target_text_seen else "")

    def __str__(self) -> str:
        return f"{self.model} {self.source}_to_{self.target}"


@dataclass(frozen=True)
class Competition:
    """Cells of one source -> target pair that may be compared, in the order of the grid."""

    trained: list[Cell]
    training_free: list[Cell]


def competes(*, trained: bool, used: bool, with_interactions: bool) -> bool:
    """Whether a cell competes among those that used interactions of the target, or used none.

    The one place that says so. Models that used interactions of the target compete with each other
    and with all training-free rows; models that used none with each other and with the
    training-free rows that use none.

    Args:
        trained: whether the cell is no training-free row.
        used: whether it used interactions of the target.
        with_interactions: the competition that is asked about.
    """
    return used == with_interactions or (with_interactions and not trained)


Key = tuple[Model, str, str]  # model, source, target


@dataclass(frozen=True)
class Cells:
    """The cells of a grid, in its order: zero-shot, in-domain, training-free."""

    grid: Grid
    by_key: dict[Key, Cell]

    @property
    def trained(self) -> list[Cell]:
        """The cells of all trained models."""
        return [cell for cell in self.by_key.values() if cell.trained]

    @property
    def training_free(self) -> list[Cell]:
        """The cells of all training-free rows."""
        return [cell for cell in self.by_key.values() if not cell.trained]

    @property
    def models(self) -> list[Model]:
        """All trained models and, after them, the training-free rows."""
        return list(dict.fromkeys(cell.model for cell in self.by_key.values()))

    def find(self, model: Model, source: str, target: str) -> Cell | None:
        """A model's cell; a training-free row has the same for every source."""
        return self.by_key.get((model, source if model.backbone else NO_SOURCE, target))

    def of_target(self, target: str) -> list[Cell]:
        """All cells of a target, trained models first."""
        return [cell for cell in self.by_key.values() if cell.target == target]

    def of_model(self, model: Model, *, zero_shot: bool) -> list[Cell]:
        """A model's cells over the zero-shot (or in-domain) pairs.

        A training-free row has its target's cell once for each pair, so that means over pairs
        compare.
        """
        pairs = self.grid.pairs(zero_shot=zero_shot)
        found = [self.find(model, source, target) for source, target in pairs]
        return [cell for cell in found if cell is not None]

    def uses_interactions(self, model: Model, *, zero_shot: bool) -> bool:
        """Whether a model used interactions of the target in any of those cells."""
        cells = self.of_model(model, zero_shot=zero_shot)
        return any(cell.saw.target_interactions_used for cell in cells)

    def competition(self, source: str, target: str, *, with_interactions: bool) -> Competition:
        """The cells of a pair that compete with each other; see `competes`."""
        found = [
            cell
            for cell in self.of_target(target)
            if cell.source in (source, NO_SOURCE)
            and competes(
                trained=cell.trained,
                used=cell.saw.target_interactions_used,
                with_interactions=with_interactions,
            )
        ]
        free = [cell for cell in found if not cell.trained]
        return Competition([cell for cell in found if cell.trained], free)

    def rivals(self, cell: Cell) -> Competition:
        """The competition that a trained cell stands in, itself included."""
        used = cell.saw.target_interactions_used
        return self.competition(cell.source, cell.target, with_interactions=used)


def load_cells(ranks: Path, grid: Grid) -> Cells:
    """Read the certificates of the grid's cells below `ranks`, each beside its ranks.

    Raises:
        UserError: when a cell of the grid is missing or there twice, or a JSON is no certificate.
    """
    found = _read_cells(ranks)
    alone = {cell.model.variant for cell in found.values() if not cell.certificate.transfers}
    grid = replace(grid, in_domain_only=frozenset(alone))
    wanted = _wanted(grid)
    trained = {key: found[key] for key in wanted if key in found}
    training_free = {
        key: cell for key, cell in found.items() if not cell.trained and cell.target in grid.domains
    }
    _check_trained(trained, wanted, ranks)
    _check_training_free(training_free, grid, ranks)
    return Cells(grid, trained | training_free)


def _read_cells(ranks: Path) -> dict[Key, Cell]:
    """All cells below `ranks`, of the grid or not."""
    found: dict[Key, Cell] = {}
    for path in sorted(ranks.rglob("*.json")):
        certificate = build(Certificate, read_json(path), str(path))
        cell = Cell(certificate, path.with_suffix(".parquet"))
        key = (cell.model, cell.source, cell.target)
        if key in found:
            raise UserError(f"{path}: the cell {cell} is there twice; delete one")
        found[key] = cell
    return found


def _wanted(grid: Grid) -> dict[Key, None]:
    """The key of every trained cell of the grid, as an ordered set."""
    return {
        (model, source, target): None
        for zero_shot in (True, False)
        for model in grid.models(zero_shot=zero_shot)
        for source, target in grid.pairs(zero_shot=zero_shot)
    }


def _check_trained(found: dict[Key, Cell], wanted: Iterable[Key], ranks: Path) -> None:
    if missing := [key for key in wanted if key not in found]:
        model, source, target = missing[0]
        raise UserError(
            f"{ranks}: {len(missing)} cell(s) of the grid are missing, the first is {model} "
            f"{source}_to_{target}; run the evaluate stage"
        )


def _check_training_free(found: dict[Key, Cell], grid: Grid, ranks: Path) -> None:
    rows = {model for model, _, _ in found}
    if not rows or len(found) < len(rows) * len(grid.domains):
        raise UserError(
            f"{ranks}: not every domain of the grid has its training-free rows; "
            "run the baselines stage"
        )
