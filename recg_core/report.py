"""The tables of the paper from metrics cells, in Markdown, and one summary of scalars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.errors import UserError
from recg_core.files import read_json
from recg_core.metrics import NO_SOURCE, NUM_NEGATIVES, metric_names

SAMPLED = f"sampled_{NUM_NEGATIVES}"
PROTOCOLS = {
    "full": "Full ranking: the test item among all items outside the user's history.",
    SAMPLED: f"The paper's protocol: the test item against {NUM_NEGATIVES} sampled negatives, as "
    "the exact expectation over samples.",
}
HEADLINE = ("recall@10", "ndcg@10")
REFERENCE = "sem"  # the variant that improvements are relative to
ABLATION = "wo_"  # prefix of the variants that leave one component out
INTERACTIONS_MARK, TEXT_MARK = "†", "‡"
LEGEND = (
    f"Percent; the best of a row or group in bold. {INTERACTIONS_MARK} uses interactions of the "
    f"target; {TEXT_MARK} item texts of the target were seen in training (or averaged, for "
    "centered rows)."
)


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
    """Read the cells of the grid below `folder`; other files there are left out.

    Raises:
        UserError: when a cell of the grid is missing, there twice, or no metrics cell.
    """
    found: dict[tuple[str, str, str], Cell] = {}
    for path in sorted(folder.rglob("*.json")):
        content = read_json(path)
        try:
            key = (content["model"], content["source"], content["target"])
            cell = Cell(
                num_seeds=content["num_seeds"],
                target_text_seen=content["saw"]["target_text_seen"],
                target_interactions_used=content["saw"]["target_interactions_used"],
                metrics={protocol: content[protocol] for protocol in PROTOCOLS},
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}: is no metrics cell (no {error}); delete it or run the stage that writes it"
            ) from error
        if key in found:
            raise UserError(f"{path}: the cell {' '.join(key)} is there twice; delete one")
        found[key] = cell
    return Cells(_trained(found, grid, folder), _training_free(found, grid, folder))


def build_report(cells: Cells, grid: Grid, statistics: dict[str, dict[str, Any]]) -> str:
    """The report as Markdown.

    Args:
        statistics: the content of `stats.json` of every domain of the grid.
    """
    seeds = sorted({cell.num_seeds for cell in cells.trained.values()})
    parts = ["# Results", LEGEND]
    if seeds:
        parts.append(f"Trained models: mean over {' or '.join(map(str, seeds))} seed(s).")
    parts += ["## Table 3: data sets", statistics_table(statistics)]
    parts += ["## Averages", averages_table(cells, grid)]
    ablations = [variant for variant in grid.variants if variant.startswith(ABLATION)]
    for protocol, caption in PROTOCOLS.items():
        sections = {"Training-free rows": training_free_table(cells, grid, protocol)}
        if grid.pairs(zero_shot=True):
            title = "Table 4: zero-shot, trained on another domain"
            sections[title] = comparison_table(cells, grid, protocol, zero_shot=True)
        if grid.pairs(zero_shot=False):
            title = "Table 5: in-domain, trained on the target itself"
            sections[title] = comparison_table(cells, grid, protocol, zero_shot=False)
        if ablations and grid.pairs(zero_shot=True):
            sections["Table 6: ablation, zero-shot"] = ablation_table(cells, grid, protocol)
        parts += [f"## {caption.split(':')[0]}", caption]
        for title, table in sections.items():
            parts += [f"### {title}", table]
    return "\n\n".join(parts) + "\n"


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


def statistics_table(statistics: dict[str, dict[str, Any]]) -> str:
    """Table 3."""
    rows = [
        [
            domain,
            *(f"{stats[key]:,}" for key in ("num_items", "num_users", "num_interactions")),
            f"{stats['mean_sequence_length']:.2f}",
        ]
        for domain, stats in statistics.items()
    ]
    return _markdown(["Domain", "Items", "Users", "Interactions", "Avg. seq. len."], rows)


def averages_table(cells: Cells, grid: Grid) -> str:
    """Mean over the zero-shot cells and over the in-domain cells, of models and rows."""
    summary = build_summary(cells, grid)
    means = {"zero-shot": "mean_zero_shot", "in-domain": "mean_in_domain"}
    columns = [
        (f"{means_name}, {protocol}: {metric}", means_key, protocol, metric)
        for means_name, means_key in means.items()
        for protocol in PROTOCOLS
        for metric in HEADLINE
    ]
    rows = [
        [name]
        + [
            _percent(cells_of[key][protocol][metric]) if key in cells_of else "-"
            for _, key, protocol, metric in columns
        ]
        for name, cells_of in summary.items()
    ]
    return _markdown(["Model", *(title for title, *_ in columns)], _bold_columns(rows, 1))


def training_free_table(cells: Cells, grid: Grid, protocol: str) -> str:
    """Every training-free row for every target."""
    rows: list[list[str]] = []
    for target in grid.domains:
        group = []
        for row in cells.rows:
            cell = cells.training_free[row, target]
            values = [_percent(cell.metrics[protocol][name]) for name in metric_names()]
            group.append([target, row + cell.marks(), *values])
        rows += _bold_columns(group, 2)
    return _markdown(["Target", "Row", *map(_title, metric_names())], rows)


def comparison_table(cells: Cells, grid: Grid, protocol: str, *, zero_shot: bool) -> str:
    """Table 4 or 5: backbones and variants side by side, and the best training-free row.

    Zero-shot cells compare with the training-free rows that use no target interactions either.
    """
    columns = [
        (backbone, variant)
        for backbone in grid.backbones
        for variant in grid.variants
        if not variant.startswith(ABLATION) and not (zero_shot and variant in grid.in_domain_only)
    ]
    improved = [
        (backbone, variant)
        for backbone, variant in columns
        if variant not in {REFERENCE, *grid.in_domain_only} and REFERENCE in grid.variants
    ]
    header = ["Target", "Source", "Metric"]
    for column in columns:
        header += ["-".join(column), "Impr."] if column in improved else ["-".join(column)]
    rows = []
    for source, target in grid.pairs(zero_shot=zero_shot):
        trained = {column: cells.trained["-".join(column), source, target] for column in columns}
        free = cells.rows_of(target, with_interactions=not zero_shot)
        for metric in metric_names():
            values = _compared(trained, improved, free, protocol, metric)
            rows.append([target, source, _title(metric), *values])
    return _markdown([*header, "Best training-free"], rows)


def _compared(
    trained: dict[tuple[str, str], Cell],
    improved: list[tuple[str, str]],
    free: dict[str, Cell],
    protocol: str,
    metric: str,
) -> list[str]:
    """One metric's row of values: the best in bold, improvements over the reference."""

    def value(cell: Cell) -> float:
        return cell.metrics[protocol][metric]

    best_row = max(free, key=lambda row: value(free[row]))
    best = _percent(max(value(cell) for cell in [*trained.values(), free[best_row]]))

    def shown(cell: Cell) -> str:
        text = _percent(value(cell))
        return (f"**{text}**" if text == best else text) + cell.marks()

    texts = []
    for column, cell in trained.items():
        texts.append(shown(cell))
        if column in improved:
            reference = value(trained[column[0], REFERENCE])
            texts.append(f"{100 * (value(cell) / reference - 1):+.2f} %" if reference else "-")
    return [*texts, f"{shown(free[best_row])} {best_row}"]


def ablation_table(cells: Cells, grid: Grid, protocol: str) -> str:
    """Table 6: variants without one component, between the full method and the reference."""
    ablations = [variant for variant in grid.variants if variant.startswith(ABLATION)]
    ordered = ["recg", *ablations, REFERENCE]
    variants = [variant for variant in ordered if variant in grid.variants]
    targets = list(dict.fromkeys(target for _, target in grid.pairs(zero_shot=True)))
    header = [f"{target} {_title(metric)}" for target in targets for metric in HEADLINE]
    rows: list[list[str]] = []
    for source in grid.sources:
        for backbone in grid.backbones:
            group = []
            for variant in variants:
                found = [
                    cells.trained.get((f"{backbone}-{variant}", source, target))
                    if source != target
                    else None
                    for target in targets
                ]
                values = [
                    _percent(cell.metrics[protocol][metric]) if cell else "-"
                    for cell in found
                    for metric in HEADLINE
                ]
                group.append([source, backbone, variant, *values])
            rows += _bold_columns(group, 3)
    return _markdown(["Source", "Backbone", "Variant", *header], rows)


def _trained(
    found: dict[tuple[str, str, str], Cell], grid: Grid, folder: Path
) -> dict[tuple[str, str, str], Cell]:
    wanted = [
        (model, source, target)
        for zero_shot in (True, False)
        for model in grid.models(zero_shot=zero_shot)
        for source, target in grid.pairs(zero_shot=zero_shot)
    ]
    missing = [key for key in wanted if key not in found]
    if missing:
        model, source, target = missing[0]
        raise UserError(
            f"{folder}: {len(missing)} cell(s) of the grid are missing, the first is {model} "
            f"{source}_to_{target}; run the evaluate stage"
        )
    return {key: found[key] for key in wanted}


def _training_free(
    found: dict[tuple[str, str, str], Cell], grid: Grid, folder: Path
) -> dict[tuple[str, str], Cell]:
    cells = {
        (model, target): cell
        for (model, source, target), cell in found.items()
        if source == NO_SOURCE and target in grid.domains
    }
    rows = {row for row, _ in cells}
    if not rows or len(cells) < len(rows) * len(grid.domains):
        raise UserError(
            f"{folder}: not every domain of the grid has its training-free rows; "
            "run the baselines stage"
        )
    return cells


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


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _title(metric: str) -> str:
    """`recall@10` as the paper prints it."""
    name, k = metric.split("@")
    return f"{ {'recall': 'Recall', 'ndcg': 'NDCG'}[name] }@{k}"


def _bold_columns(rows: list[list[str]], first: int) -> list[list[str]]:
    """The rows with the largest number of every column from `first` on in bold; `-` is none."""
    best: dict[int, str] = {}
    for row in rows:
        for column, text in enumerate(row[first:], start=first):
            if text != "-" and float(text) > float(best.get(column, "-inf")):
                best[column] = text
    return [
        [f"**{text}**" if best.get(column) == text else text for column, text in enumerate(row)]
        for row in rows
    ]


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---" if index == 0 else "--:" for index in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
