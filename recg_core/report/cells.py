"""The cells of a grid as they were evaluated, and which of them compete with which."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, sha256_json
from recg_core.base.params import check_name
from recg_core.base.sources import in_domain
from recg_core.evaluation.certificate import NO_SOURCE, NOT_OF_LARGE, Certificate, Saw

REFERENCE = "sem"  # the variant that improvements are relative to
INTERACTIONS_MARK, TEXT_MARK = "†", "‡"
SMALL_MARK = "§"
INTERACTIONS_USED = "target_interactions_used"  # key of a cell in the summary
METRICS_DIGESTS = "metrics_sha256"  # key of the summary
TOO_SMALL = "too_small"  # another, of those cells alone
# Below these a mean says next to nothing, and every row is nearly as good as the best.
MIN_USERS = 30  # test users of a target, or users of a slice
MIN_CANDIDATES = 100  # of a test user, in the mean
SMALL = (
    f"{SMALL_MARK} fewer than {MIN_USERS} test users or {MIN_CANDIDATES} candidates: too small to "
    "mean anything, and in no mean, count, test or correction."
)


class Model(NamedTuple):
    """A variant of a backbone or, without a backbone, a training-free row."""

    backbone: str | None
    variant: str

    def __str__(self) -> str:
        return self.variant if self.backbone is None else f"{self.backbone}-{self.variant}"


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
            if in_domain(source, target) != zero_shot
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
    """A model on a source -> target pair."""

    model: Model
    source: str  # that the model was trained on, maybe of several domains; NO_SOURCE if untrained
    target: str  # whose items were ranked
    certificate: Certificate
    ranks: Path

    @property
    def saw(self) -> Saw:
        """What the model saw of the target."""
        return self.certificate.saw

    @property
    def trained(self) -> bool:
        """Whether it is no training-free row."""
        return self.source != NO_SOURCE

    @property
    def in_domain(self) -> bool:
        """Whether the model was trained on its target."""
        return in_domain(self.source, self.target)

    @property
    def small(self) -> bool:
        """Whether its target has too few test users or candidates to mean anything."""
        users, candidates = self.certificate.num_users, self.certificate.mean_candidates
        return users < MIN_USERS or candidates < MIN_CANDIDATES

    @property
    def marks(self) -> str:
        """The symbols that say what the model saw of the target."""
        interactions = INTERACTIONS_MARK if self.saw.target_interactions_used else ""
        return interactions + (TEXT_MARK if self.saw.target_text_seen else "")


class Competition(NamedTuple):
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
    users: dict[str, np.ndarray] | None = None  # user_idx of those that count; None: all

    @property
    def models(self) -> list[Model]:
        """All trained models and, after them, the training-free rows."""
        return list(dict.fromkeys(cell.model for cell in self.by_key.values()))

    def backbone_ranks(self, variant: str) -> bool:
        """Whether backbones of a variant are models of their own in other domains, too.

        Where they are not, a pair of domains is one result, however many backbones there are.
        """
        of_variant = [c for c in self.by_key.values() if c.trained and c.model.variant == variant]
        return all(cell.certificate.backbone_ranks for cell in of_variant)

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
        return [cell for pair in pairs if (cell := self.find(model, *pair))]

    def counted(self, model: Model, *, zero_shot: bool) -> list[Cell]:
        """Those of `of_model` that means and counts are over: of targets that are not too small.

        None of a training-free row that some target lacks: its mean would be of fewer pairs.
        """
        found = self.of_model(model, zero_shot=zero_shot)
        if len(found) < len(self.grid.pairs(zero_shot=zero_shot)):
            return []
        return [cell for cell in found if not cell.small]

    def lacking(self, target: str) -> list[str]:
        """The training-free rows that other targets have and this one has not."""
        rows = [model for model in self.models if not model.backbone]
        return [str(row) for row in rows if self.find(row, NO_SOURCE, target) is None]

    def small(self, target: str) -> bool:
        """Whether a target is too small to be in any mean, count or correction."""
        return any(cell.small for cell in self.of_target(target))

    @property
    def large(self) -> list[str]:
        """The targets that are not too small."""
        return [target for target in self.grid.domains if not self.small(target)]

    def label(self, target: str) -> str:
        """A target's name in a table, with a sign if it is too small."""
        return f"{target} {SMALL_MARK}" if self.small(target) else target

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

    A row of `NOT_OF_LARGE` may be there for some targets alone.

    Raises:
        UserError: when a cell of the grid is missing or there twice, or a JSON is no certificate.
    """
    found = read_cells(ranks)
    alone = {cell.model.variant for cell in found.values() if not cell.certificate.transfers}
    grid = replace(grid, in_domain_only=frozenset(alone))
    wanted = [
        (model, *pair)
        for zero_shot in (True, False)
        for model in grid.models(zero_shot=zero_shot)
        for pair in grid.pairs(zero_shot=zero_shot)
    ]
    if missing := [key for key in wanted if key not in found]:
        model, source, target = missing[0]
        raise UserError(
            f"{ranks}: {len(missing)} cell(s) of the grid are missing, the first is {model} "
            f"{source}_to_{target}; run the evaluate stage"
        )
    training_free = {
        key: cell for key, cell in found.items() if not cell.trained and cell.target in grid.domains
    }
    rows = {model for model, _, _ in training_free if model.variant not in NOT_OF_LARGE}
    everywhere = [(row, NO_SOURCE, target) for row in rows for target in grid.domains]
    if not rows or not all(key in training_free for key in everywhere):
        raise UserError(
            f"{ranks}: not every domain of the grid has its training-free rows; "
            "run the baselines stage"
        )
    return Cells(grid, {key: found[key] for key in wanted} | training_free)


def read_cells(ranks: Path) -> dict[Key, Cell]:
    """All cells below `ranks`, of a grid or not.

    Raises:
        UserError: when one is there twice, or a JSON is no certificate.
    """
    found: dict[Key, Cell] = {}
    for path in sorted(ranks.rglob("*.json")):
        content = read_sealed_json(path, "run the evaluate or baselines stage")
        certificate = build(Certificate, content, str(path))
        for name in (certificate.variant, certificate.target):  # which name files of the report
            check_name(name, str(path))
        model = Model(certificate.backbone, certificate.variant)
        key = (model, certificate.source, certificate.target)
        if key in found:
            name = f"{model} {certificate.source}_to_{certificate.target}"
            raise UserError(f"{path}: the cell {name} is there twice; delete one")
        found[key] = Cell(*key, certificate, path.with_suffix(".parquet"))
    return found


def metrics_folder(source: str, target: str) -> str:
    """The folder of a pair's metrics, `IS-VG`, or `VG` for training-free rows.

    Names are short, since DVC prints the path beside the metrics in every line of its table.
    """
    return target if source == NO_SOURCE else f"{source}-{target}"


def metrics_digest(files: Mapping[str, str]) -> str:
    """A digest of all metrics files of a protocol, text by path."""
    return sha256_json(dict(files))


def pair_of(folder: str) -> tuple[str, str]:
    """Source and target of a `metrics_folder`: no domain's name has a hyphen."""
    source, hyphen, target = folder.partition("-")
    return (source, target) if hyphen else (NO_SOURCE, folder)


def summary_key(source: str, target: str) -> str:
    """A cell's key below its model in the summary, `IS_to_VG`, or `to_VG` without a source."""
    return f"to_{target}" if source == NO_SOURCE else f"{source}_to_{target}"
