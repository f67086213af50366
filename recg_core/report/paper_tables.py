"""The tables of the paper: data sets (3), zero-shot (4), in-domain (5) and ablation (6)."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from recg_core.base.sources import in_domain
from recg_core.models.ranking.metrics import NUM_NEGATIVES, metric_names
from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import REFERENCE, Cell, Cells, Model
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.layout import Entry, Number, Table, bold_best, percent
from recg_core.report.wording import SIGNIFICANCE, arrow, star, title_of

# Both readings of the full method, and the prefix of those of its variants that leave one part out.
ABLATIONS = {"recg": "wo_", "recg_printed": "printed_wo_"}
PAPERS_PROTOCOL = f"sampled_{NUM_NEGATIVES}"
STATISTICS = {
    "num_items": ("Items", ",d"),
    "num_users": ("Users", ",d"),
    "num_interactions": ("Interactions", ",d"),
    "mean_sequence_length": ("Avg. seq. len.", ".2f"),
    "later_share": ("Later events", ".1%"),
}
# Name and title of tables 4 and 5 by whether the cells are zero-shot and use target interactions.
COMPARISONS = {
    (True, False): ("table4", "Table 4: zero-shot"),
    (True, True): (
        "table4_with_interactions",
        "Table 4: with interactions of the target's histories",
    ),
    (False, True): ("table5", "Table 5: in-domain"),
}


@cache
def _papers() -> dict[str, Any]:
    """The figures that the paper prints in its Tables 3 to 6, in percent, for its own domains."""
    text = resources.files("recg_core.report").joinpath("published.json").read_text("utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def published(model: Model, source: str, target: str, metric: str) -> float | None:
    """What the paper reports for a cell, against 100 sampled negatives, the same for both readings.

    None where it reports nothing, or where the text of the paper that was read has lost the digits.
    """
    cells: dict[str, dict[str, dict[str, float]]] = _papers()["cells"]
    variant = "recg" if model.variant == "recg_printed" else model.variant.removeprefix("printed_")
    row = cells.get(str(Model(model.backbone, variant)), {})
    return row.get(f"{source}_to_{target}", {}).get(metric)


def _published(view: View, cell: Cell) -> Number:
    """What the paper reports for a cell, under its protocol alone."""
    if view.protocol != PAPERS_PROTOCOL:
        return Number(None)
    return Number(published(cell.model, cell.source, cell.target, view.metric))


def _improvement(view: View, cell: Cell) -> Number:
    found = view.against(cell, REFERENCE)
    return percent(found.relative, f" %{star(found)}", "+.2f") if found else Number(None)


# What stands beside a model's own column where any of its cells has it.
BESIDE = {"paper": _published, "Impr.": _improvement}


def statistics_table(statistics: dict[str, dict[str, Any]], preprocess: str) -> Table:
    """Table 3, with the counts that the paper reports for its own domains.

    Args:
        preprocess: the text rule, k-core and split that gave our counts, in words.
    """
    heads, columns = ["Domain"], [list[Entry](statistics)]
    for key, (head, form) in STATISTICS.items():
        ours = [counts.get(key) for counts in statistics.values()]
        paper = [_papers()["domains"].get(domain, {}).get(key) for domain in statistics]
        for name, values in ((head, ours), ("paper", paper)):
            if any(values):
                heads.append(name)
                columns.append([Number(value, form=form) for value in values])
    rows = tuple(zip(*columns, strict=True))
    return Table("table3", "Table 3: data sets", preprocess, 1, tuple(heads), rows)


def comparison_tables(analysis: Analysis, protocol: str, *, zero_shot: bool) -> list[Table]:
    """Table 4 or 5, one a backbone, since all models side by side are wider than a page.

    Zero-shot models that use target interactions stand in tables of their own.
    """
    cells = analysis.cells
    views = [analysis.view(protocol, metric) for metric in metric_names(analysis.config.ks)]
    tables = []
    for (of_zero_shot, used), (name, title) in COMPARISONS.items():
        for backbone in cells.grid.backbones:
            models = [
                model
                for model in cells.grid.models(zero_shot=zero_shot)
                if model.backbone == backbone
                and not model.variant.startswith(tuple(ABLATIONS.values()))
                and cells.uses_interactions(model, zero_shot=zero_shot) == used
            ]
            found = [
                [cells.by_key[model, source, target] for model in models]
                for source, target in cells.grid.pairs(zero_shot=zero_shot)
            ]
            if of_zero_shot == zero_shot and models and found:
                names = f"{name}_{backbone}_{protocol}", f"{title}, {backbone}"
                tables.append(_comparison_table(*names, views, cells, found))
    return tables


def _comparison_table(
    name: str, title: str, views: Sequence[View], cells: Cells, found: Sequence[Sequence[Cell]]
) -> Table:
    """The models side by side, a row a pair and metric.

    Args:
        found: for each pair, the cell of each model.
    """
    beside = {
        of_model[0].model: [
            head
            for head, entry in BESIDE.items()
            if any(entry(view, cell).value is not None for cell in of_model for view in views)
        ]
        for of_model in zip(*found, strict=True)
    }
    with_source = any(of_pair[0].source != of_pair[0].target for of_pair in found)
    labels = ("Target", "Source", "Metric") if with_source else ("Domain", "Metric")
    rows = []
    for of_pair in found:
        first = of_pair[0]
        target = cells.label(first.target)
        names = (target, first.source) if with_source else (target,)
        for view in views:
            free = view.best(cells.rivals(first).training_free)
            entries = _entries(view, of_pair, free, beside)
            rows.append((*names, title_of(view.metric), *entries))
    heads = [head for model, extra in beside.items() for head in (str(model), *extra)]
    columns = (*labels, *heads, "Best training-free")
    return Table(name, title, SIGNIFICANCE, len(labels), columns, tuple(rows))


def _entries(
    view: View, models: Sequence[Cell], free: Cell, beside: dict[Model, list[str]]
) -> list[Number]:
    """A pair's numbers by one metric, the best in bold; the best training-free row stands last."""
    best = round(100 * max(view.value(cell) for cell in [*models, free]), 2)

    def own(cell: Cell, marks: str, note: str = "") -> Number:
        value = 100 * view.value(cell)
        return Number(value, cell.marks + marks, round(value, 2) == best, note=note)

    entries = []
    for cell in models:
        entries.append(own(cell, arrow(view.against(cell, TRAINING_FREE))))
        entries += [BESIDE[head](view, cell) for head in beside[cell.model]]
    return [*entries, own(free, "", note=str(free.model))]


def ablation_table(analysis: Analysis, protocol: str) -> Table | None:
    """Table 6: variants without one component, below the full method that they are made of.

    The reference stands last. None without such variants. One that uses interactions of the target
    is left out, since the others use none.
    """
    cells, grid = analysis.cells, analysis.cells.grid
    of_method = {
        method: [variant for variant in grid.variants if variant.startswith(prefix)]
        for method, prefix in ABLATIONS.items()
    }
    ablations = [variant for found in of_method.values() for variant in found]
    pairs = grid.pairs(zero_shot=True)
    if not ablations or not pairs:
        return None
    methods = [name for m, found in of_method.items() if found for name in (m, *found)]
    variants = [v for v in (*methods, REFERENCE) if v in grid.variants]
    views = [analysis.view(protocol, metric) for metric in analysis.config.headline]
    places = [(target, view) for target in dict.fromkeys(t for _, t in pairs) for view in views]
    models = [Model(backbone, variant) for backbone in grid.backbones for variant in variants]
    models = [m for m in models if not cells.uses_interactions(m, zero_shot=True)]
    paper = any(
        _published(view, cell).value
        for model in models if model.variant in ablations
        for cell in cells.of_model(model, zero_shot=True) for view in views
    )  # fmt: skip
    rows: list[tuple[Entry, ...]] = []
    for source in grid.sources:
        for model in models:
            row: list[Entry] = [source, str(model.backbone), model.variant]
            for target, view in places:
                cell = None if in_domain(source, target) else cells.find(model, source, target)
                row.append(_ablated(view, cell))
                if paper:
                    row.append(_published(view, cell) if cell else Number(None))
            rows.append(tuple(row))
    heads = [f"{cells.label(target)} {title_of(view.metric)}" for target, view in places]
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
    return percent(view.value(cell), star(view.against(cell, REFERENCE)))
