"""The tables of the paper from metrics cells, in Markdown, and one summary of scalars."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from recg_core.files import atomic_path, read_json, write_json
from recg_core.metrics import metric_names
from recg_core.results import (
    HEADLINE,
    INTERACTIONS_MARK,
    PROTOCOLS,
    TEXT_MARK,
    Cell,
    Cells,
    Grid,
    build_summary,
    load_cells,
)

REFERENCE = "sem"  # the variant that improvements are relative to
ABLATION = "wo_"  # prefix of the variants that leave one component out
LEGEND = (
    f"Percent; the best of a row or group in bold. {INTERACTIONS_MARK} uses interactions of the "
    f"target; {TEXT_MARK} item texts of the target were seen in training, by the model or by a "
    "fitted encoder (or averaged, for centered rows)."
)


def write_report(metrics: Path, domains: Path, out: Path, grid: Grid) -> None:
    """Write `report.md` and, last, `summary.json` into `out`.

    Args:
        metrics: holds the cells, at any depth.
        domains: holds `<domain>/stats.json`.

    Raises:
        UserError: when a cell or a `stats.json` of the grid is missing or damaged.
    """
    cells = load_cells(metrics, grid)
    statistics = {domain: read_json(domains / domain / "stats.json") for domain in grid.domains}
    text = build_report(cells, grid, statistics)
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_json(out / "summary.json", build_summary(cells, grid))


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
    ablations = [variant for variant in grid.variants if variant.startswith(ABLATION)]
    for protocol, caption in PROTOCOLS.items():
        sections = {
            "Averages": averages_table(cells, grid, protocol),
            "Training-free rows": training_free_table(cells, grid, protocol),
        }
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
    return _markdown(["Domain"], ["Items", "Users", "Interactions", "Avg. seq. len."], rows)


def averages_table(cells: Cells, grid: Grid, protocol: str) -> str:
    """Mean over the zero-shot cells and over the in-domain cells, of models and rows."""
    means = {"mean_zero_shot": "Zero-shot", "mean_in_domain": "In-domain"}
    header = [f"{title} {_title(metric)}" for title in means.values() for metric in HEADLINE]
    rows = []
    for name, values in build_summary(cells, grid).items():
        free = cells.training_free.get((name, grid.domains[0]))
        texts = [
            _percent(values[mean][protocol][metric]) if mean in values else "-"
            for mean in means
            for metric in HEADLINE
        ]
        rows.append([name + (free.marks() if free else ""), *texts])
    return _markdown(["Model"], header, _bold_columns(rows, 1))


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
    return _markdown(["Target", "Row"], [*map(_title, metric_names())], rows)


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
    header = []
    for column in columns:
        header += ["-".join(column), "Impr."] if column in improved else ["-".join(column)]
    rows = []
    for source, target in grid.pairs(zero_shot=zero_shot):
        trained = {column: cells.trained["-".join(column), source, target] for column in columns}
        free = cells.rows_of(target, with_interactions=not zero_shot)
        for metric in metric_names():
            values = _compared(trained, improved, free, protocol, metric)
            place = [target, source] if zero_shot else [target]
            rows.append([*place, _title(metric), *values])
    labels = ["Target", "Source", "Metric"] if zero_shot else ["Domain", "Metric"]
    return _markdown(labels, [*header, "Best training-free"], rows)


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
    return _markdown(["Source", "Backbone", "Variant"], header, rows)


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


def _markdown(labels: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first columns are labels, to the left, and the others numbers, to the right."""
    rule = ["---"] * len(labels) + ["--:"] * len(numbers)
    lines = ([*labels, *numbers], rule, *rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
