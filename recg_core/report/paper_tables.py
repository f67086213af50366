"""The tables of the paper: data sets (3), zero-shot (4), in-domain (5) and ablation (6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recg_core.models.ranking.metrics import NUM_NEGATIVES, metric_names
from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import REFERENCE, Cell, Cells, Model
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.layout import Entry, Number, Table, bold_best
from recg_core.report.published import published, published_statistics
from recg_core.report.wording import SIGNIFICANCE, VERDICT, is_finite, title_of

ABLATION = "wo_"  # prefix of the variants that leave one component out
PAPERS_PROTOCOL = f"sampled_{NUM_NEGATIVES}"


def statistics_table(statistics: dict[str, dict[str, Any]], preprocess: str) -> Table:
    """Table 3, with the counts that the paper reports for its own domains.

    Args:
        preprocess: the text rule, k-core and split that gave our counts, in words.
    """
    paper = {domain: published_statistics(domain) for domain in statistics}
    compared = any(paper.values())
    rows: list[tuple[Entry, ...]] = []
    for domain, stats in statistics.items():
        row: list[Entry] = [domain]
        for key, form in (
            ("num_items", ",d"), ("num_users", ",d"), ("num_interactions", ",d"),
            ("mean_sequence_length", ".2f"),
        ):  # fmt: skip
            row.append(Number(stats[key], form=form))
            if compared and key != "num_interactions":
                row.append(Number((paper[domain] or {}).get(key), form=form))
        rows.append(tuple(row))
    columns = ["Items", "Users", "Interactions", "Avg. seq. len."]
    if compared:
        columns = [
            "Items", "paper", "Users", "paper", "Interactions", "Avg. seq. len.", "paper",
        ]  # fmt: skip
    return Table("table3", "Table 3: data sets", preprocess, 1, ("Domain", *columns), tuple(rows))


def comparison_tables(
    analysis: Analysis, cells: Cells, protocol: str, *, zero_shot: bool
) -> list[Table]:
    """Table 4 or 5; zero-shot models that use target interactions stand in a table of their own."""
    pairs = cells.grid.pairs(zero_shot=zero_shot)
    views = [analysis.view(protocol, metric) for metric in metric_names(analysis.config.ks)]
    tables = []
    for used in (False, True):
        models = [
            model
            for model in cells.grid.models(zero_shot=zero_shot)
            if not model.variant.startswith(ABLATION)
            and cells.uses_interactions(model, zero_shot=zero_shot) == used
        ]
        if not pairs or not models:
            continue
        found = {pair: [_cell(cells, model, pair) for model in models] for pair in pairs}
        if not zero_shot:
            name, title = "table5", "Table 5: in-domain"
        elif used:
            name = "table4_with_interactions"
            title = "Table 4: with interactions of the target's histories"
        else:
            name, title = "table4", "Table 4: zero-shot"
        tables.append(_comparison_table(f"{name}_{protocol}", title, views, cells, found))
    return tables


@dataclass(frozen=True)
class _Extra:
    """Which models have a column beside their own."""

    paper: frozenset[Model]  # what the paper reports
    improved: frozenset[Model]  # the improvement over the reference


def _comparison_table(
    name: str,
    title: str,
    views: Sequence[View],
    cells: Cells,
    found: Mapping[tuple[str, str], Sequence[Cell]],
) -> Table:
    """The models side by side, a row a pair and metric.

    Args:
        found: by source and target, the cell of each model.
    """
    every = [cell for of_pair in found.values() for cell in of_pair]
    extra = _Extra(
        frozenset(cell.model for cell in every if any(_published(cell, view) for view in views)),
        frozenset(cell.model for cell in every if views[0].against(cell, REFERENCE)),
    )
    zero_shot = every[0].source != every[0].target
    labels = ("Target", "Source", "Metric") if zero_shot else ("Domain", "Metric")
    models = dict.fromkeys(cell.model for cell in every)
    heads = [head for model in models for head in _heads(model, extra)]
    rows = []
    for (source, target), of_pair in found.items():
        names = (target, source) if zero_shot else (target,)
        for view in views:
            free = view.best(cells.rivals(of_pair[0]).training_free)
            rows.append((*names, title_of(view.metric), *_entries(view, of_pair, free, extra)))
    columns = (*labels, *heads, "Best training-free")
    return Table(name, title, SIGNIFICANCE, len(labels), columns, tuple(rows))


def _cell(cells: Cells, model: Model, pair: tuple[str, str]) -> Cell:
    cell = cells.find(model, *pair)
    assert cell is not None  # `load_cells` refuses a grid that is not complete
    return cell


def _heads(model: Model, extra: _Extra) -> list[str]:
    paper = ["paper"] if model in extra.paper else []
    return [str(model), *paper, *(["Impr."] if model in extra.improved else [])]


def _entries(view: View, models: Sequence[Cell], free: Cell, extra: _Extra) -> list[Number]:
    """A pair's numbers by one metric, the best in bold; the best training-free row stands last."""
    best = round(100 * max(view.value(cell) for cell in [*models, free]), 2)
    entries = []
    for cell in models:
        compared = view.against(cell, TRAINING_FREE)
        sign = VERDICT[compared.verdict] if compared else ""
        value = 100 * view.value(cell)
        entries.append(Number(value, cell.marks + sign, round(value, 2) == best))
        if cell.model in extra.paper:
            entries.append(Number(_published(cell, view)))
        if cell.model in extra.improved:
            entries.append(_improvement(view, cell))
    value = 100 * view.value(free)
    note = str(free.model)
    return [*entries, Number(value, free.marks, round(value, 2) == best, note=note)]


def _published(cell: Cell, view: View) -> float | None:
    """What the paper reports for a cell, under its protocol alone."""
    if view.protocol != PAPERS_PROTOCOL:
        return None
    return published(cell.model, cell.source, cell.target, view.metric)


def _improvement(view: View, cell: Cell) -> Number:
    found = view.against(cell, REFERENCE)
    if found is None or not is_finite(found.relative):
        return Number(None)
    star = "*" if found.verdict != "unclear" else ""
    return Number(100 * found.relative, f" %{star}", form="+.2f")


def ablation_table(analysis: Analysis, cells: Cells, protocol: str) -> Table | None:
    """Table 6: variants without one component, between the full method and the reference.

    None without such variants. One that uses interactions of the target is left out, since the
    others use none.
    """
    grid = cells.grid
    ablations = [variant for variant in grid.variants if variant.startswith(ABLATION)]
    pairs = grid.pairs(zero_shot=True)
    if not ablations or not pairs:
        return None
    variants = [v for v in ("recg", *ablations, REFERENCE) if v in grid.variants]
    targets = list(dict.fromkeys(target for _, target in pairs))
    views = [analysis.view(protocol, metric) for metric in analysis.config.headline]
    places = [(target, view) for target in targets for view in views]
    models = [Model(backbone, variant) for backbone in grid.backbones for variant in variants]
    models = [m for m in models if not cells.uses_interactions(m, zero_shot=True)]
    paper = any(
        _published(cell, view)
        for model in models if model.variant in ablations
        for cell in cells.of_model(model, zero_shot=True) for view in views
    )  # fmt: skip
    rows: list[tuple[Entry, ...]] = []
    for source in grid.sources:
        for model in models:
            row: list[Entry] = [source, str(model.backbone), model.variant]
            for target, view in places:
                cell = cells.find(model, source, target) if source != target else None
                row.append(_ablated(view, cell))
                if paper:
                    row.append(Number(_published(cell, view) if cell else None))
            rows.append(tuple(row))
    heads = [f"{target} {title_of(view.metric)}" for target, view in places]
    columns = [name for head in heads for name in ([head, "paper"] if paper else [head])]
    return Table(
        f"table6_{protocol}",
        "Table 6: ablation, zero-shot",
        SIGNIFICANCE,
        3,
        ("Source", "Backbone", "Variant", *columns),
        bold_best(rows, groups=2),
    )


def _ablated(view: View, cell: Cell | None) -> Number:
    if cell is None:
        return Number(None)
    found = view.against(cell, REFERENCE)
    star = "*" if found and found.verdict != "unclear" else ""
    return Number(100 * view.value(cell), star)
