"""Every figure of the report from stored ranks: means, intervals, tests, slices, calibration.

Legend: U users, R rows (trained models and training-free rows) of a target, M columns (metrics
under both protocols), B resamples.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.schema import SLICES
from recg_core.evaluation.slices import slice_masks
from recg_core.ranking.metrics import KS, NO_SOURCE, NUM_NEGATIVES
from recg_core.ranking.ranks import read_ranks
from recg_core.report.cells import REFERENCE, Cells, Grid
from recg_core.report.compare import verdict
from recg_core.report.per_user import FULL, Protocols, UserMetrics, check_same_users, user_metrics
from recg_core.report.statistics import (
    bootstrap_means,
    holm,
    interval,
    paired_t_test,
    t_interval,
    wilcoxon_test,
)

Key = tuple[str, str]  # name of a row and its source
TRAINING_FREE = "training-free"


@dataclass(frozen=True)
class ReportConfig:
    """The `report` section of the params: what the report derives from the ranks.

    Args:
        ks: cut-offs of Recall and NDCG.
        headline_k: the cut-off of summaries, slices and the heat-map.
        num_negatives: of the sampled protocol.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    ks: tuple[int, ...] = KS
    headline_k: int = 10
    num_negatives: int = NUM_NEGATIVES
    num_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.headline_k not in self.ks:
            raise ValueError(f"headline_k must be one of ks, got {self.headline_k}")
        if self.num_resamples < 1:
            raise ValueError("num_resamples must be 1 or more")
        Protocols(self.ks, self.num_negatives)

    @property
    def protocols(self) -> Protocols:
        """The protocols whose metrics the report shows."""
        return Protocols(self.ks, self.num_negatives)

    @property
    def headline(self) -> tuple[str, str]:
        """The two metrics of summaries."""
        return f"recall@{self.headline_k}", f"ndcg@{self.headline_k}"


@dataclass(frozen=True)
class Comparison:
    """A trained model against another row over the same users of one cell, in fractions."""

    model: str
    source: str
    target: str
    protocol: str
    metric: str
    against: str  # REFERENCE or TRAINING_FREE
    other: str  # the name of the row compared with
    difference: float
    low: float  # ends of 95 % bootstrap intervals
    high: float
    relative: float  # difference / value of the other row; nan where that is 0
    relative_low: float
    relative_high: float
    p_t: float  # corrected by Holm over a table's cells of this metric, protocol and `against`
    p_wilcoxon: float
    verdict: str  # better | worse | unclear, by p_t


@dataclass(frozen=True)
class SliceResult:
    """The rows of one source -> target pair on some of its users: NDCG under full ranking."""

    source: str
    target: str
    attribute: str
    label: str
    num_users: int
    values: dict[str, float]  # by name: models of the source, then the best training-free row
    best_free: str
    difference: float  # the best model's minus the best training-free row's
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Whether two rows of a cell change places between full and sampled ranking, by NDCG."""

    source: str
    target: str
    one: str
    other: str
    full: float  # NDCG of `one` minus that of `other`
    sampled: float
    clear: bool  # both 95 % intervals leave out 0


@dataclass(frozen=True)
class TargetResult:
    """All rows of one target."""

    means: dict[Key, np.ndarray]  # [M]
    seed_std: dict[Key, np.ndarray]  # [M], over seeds (n - 1); nan with one seed
    samples: dict[Key, np.ndarray]  # [B, M], bootstrap means over the same draws
    comparisons: list[Comparison]
    slices: list[SliceResult]
    reversals: list[Calibration]
    num_pairs: int  # of rows that `reversals` went through


@dataclass(frozen=True)
class Analysis:
    """The results of a grid, by target, with corrected p-values."""

    config: ReportConfig
    targets: dict[str, TargetResult]
    comparisons: list[Comparison]

    def column(self, protocol: str, metric: str) -> int:
        """Where a metric under a protocol stands among the M columns."""
        return self.config.protocols.columns.index((protocol, metric))

    def mean(self, name: str, source: str, target: str, protocol: str, metric: str) -> float:
        """A row's mean over users and seeds, as a fraction."""
        return float(self.targets[target].means[name, source][self.column(protocol, metric)])

    def average(
        self, rows: Sequence[tuple[str, str, str]], protocol: str, metric: str
    ) -> tuple[float, float, float]:
        """Mean over (name, source, target) cells, and the ends of its 95 % interval."""
        column = self.column(protocol, metric)
        mean = np.mean([self.mean(*row, protocol, metric) for row in rows])
        samples = np.mean([self.targets[t].samples[n, s][:, column] for n, s, t in rows], axis=0)
        low, high = interval(samples)
        return float(mean), float(low), float(high)

    def comparison(
        self, model: str, source: str, target: str, protocol: str, metric: str, against: str
    ) -> Comparison | None:
        """The comparison of a cell, if there is one."""
        return self._found.get((model, source, target, protocol, metric, against))

    @cached_property
    def _found(self) -> dict[tuple[str, ...], Comparison]:
        return {
            (c.model, c.source, c.target, c.protocol, c.metric, c.against): c
            for c in self.comparisons
        }


def analyse(cells: Cells, grid: Grid, slices: Path, config: ReportConfig) -> Analysis:
    """Read the ranks of every cell of the grid and derive all that the report says.

    Args:
        slices: folder of the SLICES tables.

    Raises:
        UserError: when ranks or slices are missing, damaged or not of the same users.
    """
    # Two at a time: numpy's sorts and products let other threads run, and memory stays bounded.
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = pool.map(
            lambda target: _analyse_target(cells, grid, target, slices, config), grid.domains
        )
        targets = dict(zip(grid.domains, results, strict=True))
    comparisons = [c for result in targets.values() for c in result.comparisons]
    return Analysis(config, targets, _corrected(comparisons))


def _analyse_target(
    cells: Cells, grid: Grid, target: str, slices: Path, config: ReportConfig
) -> TargetResult:
    paths = {key: cell.ranks for key, cell in cells.of_target(target).items()}
    ranks = {key: read_ranks(path) for key, path in paths.items()}
    check_same_users({str(paths[key]): table for key, table in ranks.items()})
    users = next(iter(ranks.values())).users
    found = dict(zip(ranks, user_metrics(list(ranks.values()), config.protocols), strict=True))
    del ranks
    wide = np.concatenate([metrics.values for metrics in found.values()], axis=1)
    samples = bootstrap_means(wide, config.num_resamples, config.seed)
    num_columns = len(config.protocols.columns)
    split = np.split(samples, range(num_columns, wide.shape[1], num_columns), axis=1)
    del wide
    by_key = dict(zip(found, split, strict=True))
    means = {key: metrics.values.mean(axis=0) for key, metrics in found.items()}
    reversals, num_pairs = _calibrate(cells, target, means, by_key, config)
    return TargetResult(
        means=means,
        seed_std={key: _deviation(metrics.seed_means) for key, metrics in found.items()},
        samples=by_key,
        comparisons=list(_compare(cells, target, found, means, by_key, config)),
        slices=list(_slice(cells, grid, target, found, users, slices, config)),
        reversals=reversals,
        num_pairs=num_pairs,
    )


def _deviation(seed_means: np.ndarray) -> np.ndarray:
    if len(seed_means) < 2:
        return np.full(seed_means.shape[1], np.nan)
    return np.asarray(seed_means.std(axis=0, ddof=1))


def _compare(
    cells: Cells,
    target: str,
    found: dict[Key, UserMetrics],
    means: dict[Key, np.ndarray],
    samples: dict[Key, np.ndarray],
    config: ReportConfig,
) -> Iterator[Comparison]:
    """Every trained cell against the reference variant and the best training-free row."""
    columns = config.protocols.columns
    for (name, source), others in _opponents(cells, target).items():
        key = (name, source)
        for against, candidates in others.items():
            stacked = np.stack([means[other] for other in candidates])
            best = [candidates[row] for row in stacked.argmax(axis=0)]
            other = np.stack([found[row].values[:, i] for i, row in enumerate(best)], axis=1)
            other_samples = np.stack([samples[row][:, i] for i, row in enumerate(best)], axis=1)
            differences = found[key].values - other
            p_t, p_wilcoxon = paired_t_test(differences), wilcoxon_test(differences)
            low, high = interval(samples[key] - other_samples)
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = means[key] / [means[row][i] for i, row in enumerate(best)] - 1
                relative_low, relative_high = interval(samples[key] / other_samples - 1)
            for i, (protocol, metric) in enumerate(columns):
                yield Comparison(
                    name, source, target, protocol, metric, against, best[i][0],
                    float(differences[:, i].mean()), float(low[i]), float(high[i]),
                    float(relative[i]), float(relative_low[i]), float(relative_high[i]),
                    float(p_t[i]), float(p_wilcoxon[i]), "unclear",
                )  # fmt: skip


def _opponents(cells: Cells, target: str) -> dict[Key, dict[str, list[Key]]]:
    """What each trained cell of a target is compared with.

    The reference variant of the same backbone and source, where it saw as much of the target; and
    the training-free rows: those without target interactions, or all where the cell used some.
    """
    rows = cells.of_target(target)
    found: dict[Key, dict[str, list[Key]]] = {}
    for (name, source), cell in rows.items():
        if source == NO_SOURCE:
            continue
        backbone, _, variant = name.partition("-")
        reference = (f"{backbone}-{REFERENCE}", source)
        others: dict[str, list[Key]] = {}
        if (
            variant != REFERENCE
            and reference in rows
            and rows[reference].target_interactions_used == cell.target_interactions_used
        ):
            others[REFERENCE] = [reference]
        free = cells.rows_of(target, with_interactions=cell.target_interactions_used)
        others[TRAINING_FREE] = [(row, NO_SOURCE) for row in free]
        found[name, source] = others
    return found


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons with p-values corrected by Holm and verdicts.

    A family is what one column of a table tests: all cells of zero-shot (or in-domain) models for
    one metric, protocol and kind of opponent.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for index, c in enumerate(comparisons):
        family = (c.source == c.target, c.protocol, c.metric, c.against)
        families.setdefault(family, []).append(index)
    corrected = list(comparisons)
    for members in families.values():
        p_t = holm(np.array([comparisons[i].p_t for i in members]))
        p_wilcoxon = holm(np.array([comparisons[i].p_wilcoxon for i in members]))
        for i, t, w in zip(members, p_t.tolist(), p_wilcoxon.tolist(), strict=True):
            judged = verdict(comparisons[i].difference, t)
            corrected[i] = replace(comparisons[i], p_t=t, p_wilcoxon=w, verdict=judged)
    return corrected


def _slice(
    cells: Cells,
    grid: Grid,
    target: str,
    found: dict[Key, UserMetrics],
    users: np.ndarray,
    folder: Path,
    config: ReportConfig,
) -> Iterator[SliceResult]:
    column = config.protocols.columns.index((FULL, config.headline[1]))
    for source in grid.sources:
        path = folder / f"{source}_to_{target}.parquet"
        frame = SLICES.read(path).sort("user_idx")
        if not np.array_equal(frame["user_idx"].to_numpy(), users):
            raise UserError(f"{path}: other users than those ranked; run the slices stage again")
        models = [
            name
            for (name, of), cell in cells.of_target(target).items()
            if of == source and cell.target_interactions_used == (source == target)
        ]
        if not models:
            continue
        free = list(cells.rows_of(target, with_interactions=source == target))
        values = {name: found[name, source].values[:, column] for name in models}
        free_values = {row: found[row, NO_SOURCE].values[:, column] for row in free}
        best_model = max(values, key=lambda name: values[name].mean())
        best_free = max(free_values, key=lambda row: free_values[row].mean())
        for attribute, label, mask in slice_masks(frame):
            difference = values[best_model][mask] - free_values[best_free][mask]
            low, high = t_interval(difference)
            shown = {**values, best_free: free_values[best_free]}
            yield SliceResult(
                source, target, attribute, label, int(mask.sum()),
                {name: float(value[mask].mean()) for name, value in shown.items()},
                best_free, float(difference.mean()), low, high,
            )  # fmt: skip


def _calibrate(
    cells: Cells,
    target: str,
    means: dict[Key, np.ndarray],
    samples: dict[Key, np.ndarray],
    config: ReportConfig,
) -> tuple[list[Calibration], int]:
    """Pairs of rows whose order differs between the protocols, and the number of all pairs."""
    metric = config.headline[1]
    names = (FULL, config.protocols.sampled)
    full, sampled = (config.protocols.columns.index((name, metric)) for name in names)
    reversals: list[Calibration] = []
    num_pairs = 0
    sources = list(dict.fromkeys(source for _, source in means if source != NO_SOURCE))
    for source in sources:
        rows = [key for key in means if key[1] in (source, NO_SOURCE)]
        for one, other in combinations(rows, 2):
            if one[1] == other[1] == NO_SOURCE and source != sources[0]:
                continue  # a pair of training-free rows counts once a target
            num_pairs += 1
            differences = means[one] - means[other]
            if differences[full] * differences[sampled] >= 0:
                continue
            spread = samples[one] - samples[other]
            clear = all(
                (low > 0) == (high > 0)
                for low, high in (interval(spread[:, column]) for column in (full, sampled))
            )
            reversals.append(
                Calibration(
                    source, target, one[0], other[0], float(differences[full]),
                    float(differences[sampled]), clear,
                )
            )  # fmt: skip
    return reversals, num_pairs
