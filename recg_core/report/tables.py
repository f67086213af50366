"""The tables of the paper and those that it lacks, from an analysis."""

from collections.abc import Iterable
from typing import Any

from recg_core.ranking.metrics import NO_SOURCE, NUM_NEGATIVES, metric_names
from recg_core.report.analysis import TRAINING_FREE, Analysis, Comparison
from recg_core.report.cells import INTERACTIONS_MARK, REFERENCE, TEXT_MARK, Cells, Grid
from recg_core.report.layout import Entry, Number, Table, bold_best
from recg_core.report.published import published, published_statistics

ABLATION = "wo_"  # prefix of the variants that leave one component out
LEGEND = (
    "Percent, means over users and seeds; the best of a row or group in bold. "
    f"{INTERACTIONS_MARK} uses interactions of the target; {TEXT_MARK} item texts of the target "
    "were seen in training, by the model or by a fitted encoder (or averaged, for centered rows)."
)
SIGNIFICANCE = (
    f"* differs from `{REFERENCE}` (paired t-test over users, corrected by Holm over the table's "
    "cells, p < .05); ▲ ▼ above or below the best training-free row by the same test. A cell that "
    "uses no interactions of the target is compared with training-free rows that use none; a cell "
    "that does, with all of them."
)
VERDICT = {"better": "▲", "worse": "▼", "unclear": ""}


def title_of(metric: str) -> str:
    """`recall@10` as the paper prints it."""
    name, k = metric.split("@")
    return f"{ {'recall': 'Recall', 'ndcg': 'NDCG'}[name] }@{k}"


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
    analysis: Analysis, cells: Cells, grid: Grid, protocol: str, *, zero_shot: bool
) -> list[Table]:
    """Table 4 or 5; zero-shot rows that use target interactions stand in a table of their own."""
    pairs = grid.pairs(zero_shot=zero_shot)
    models = [
        model
        for model in grid.models(zero_shot=zero_shot)
        if not model.partition("-")[2].startswith(ABLATION)
    ]
    if not pairs or not models:
        return []
    number, words = (4, "zero-shot") if zero_shot else (5, "in-domain")
    if not zero_shot:
        return [_comparison_table(analysis, cells, pairs, models, protocol, number, words)]
    uses = {
        model: any(cells.trained[model, s, t].target_interactions_used for s, t in pairs)
        for model in models
    }
    strict = [model for model in models if not uses[model]]
    tables = []
    if strict:
        tables.append(_comparison_table(analysis, cells, pairs, strict, protocol, number, words))
    if using := [model for model in models if uses[model]]:
        title = "with interactions of the target's histories"
        tables.append(_comparison_table(analysis, cells, pairs, using, protocol, number, title))
    return tables


def _comparison_table(
    analysis: Analysis,
    cells: Cells,
    pairs: list[tuple[str, str]],
    models: list[str],
    protocol: str,
    number: int,
    words: str,
) -> Table:
    zero_shot = pairs[0][0] != pairs[0][1]
    metrics = metric_names(analysis.config.ks)
    comparable = protocol == f"sampled_{NUM_NEGATIVES}"
    paper = {
        model: comparable and any(published(model, s, t, m) for s, t in pairs for m in metrics)
        for model in models
    }
    improved = [
        model
        for model in models
        if analysis.comparison(model, *pairs[0], protocol, metrics[0], REFERENCE)
    ]
    columns = ["Target", "Source", "Metric"] if zero_shot else ["Domain", "Metric"]
    labels = len(columns)
    for model in models:
        columns += [model, *(["paper"] if paper[model] else [])]
        columns += ["Impr."] if model in improved else []
    rows = []
    for source, target in pairs:
        for metric in metrics:
            row: list[Entry] = [target, source] if zero_shot else [target]
            row.append(title_of(metric))
            values = [analysis.mean(m, source, target, protocol, metric) for m in models]
            free = analysis.comparison(models[0], source, target, protocol, metric, TRAINING_FREE)
            assert free is not None  # every trained cell has training-free rivals
            rival = free.other
            rival_value = analysis.mean(rival, NO_SOURCE, target, protocol, metric)
            best = round(100 * max(*values, rival_value), 2)
            for model, value in zip(models, values, strict=True):
                marks = cells.trained[model, source, target].marks()
                row.append(
                    _compared(analysis, model, source, target, protocol, metric, value, marks, best)
                )
                if paper[model]:
                    row.append(Number(published(model, source, target, metric)))
                if model in improved:
                    row.append(_improvement(analysis, model, source, target, protocol, metric))
            shown = round(100 * rival_value, 2)
            marks = cells.training_free[rival, target].marks()
            row.append(Number(100 * rival_value, marks, shown == best, note=rival))
            rows.append(tuple(row))
    suffix = "_with_interactions" if "interactions" in words else ""
    return Table(
        f"table{number}{suffix}_{protocol}",
        f"Table {number}: {words}",
        SIGNIFICANCE,
        labels,
        (*columns, "Best training-free"),
        tuple(rows),
    )


def _compared(
    analysis: Analysis, model: str, source: str, target: str, protocol: str, metric: str,
    value: float, marks: str, best: float,
) -> Number:  # fmt: skip
    free = analysis.comparison(model, source, target, protocol, metric, TRAINING_FREE)
    sign = VERDICT[free.verdict] if free else ""
    return Number(100 * value, marks + sign, round(100 * value, 2) == best)


def _improvement(
    analysis: Analysis, model: str, source: str, target: str, protocol: str, metric: str
) -> Number:
    found = analysis.comparison(model, source, target, protocol, metric, REFERENCE)
    if found is None or not _finite(found.relative):
        return Number(None)
    star = "*" if found.verdict != "unclear" else ""
    return Number(100 * found.relative, f" %{star}", form="+.2f")


def training_free_table(analysis: Analysis, cells: Cells, grid: Grid, protocol: str) -> Table:
    """Every training-free row for every target."""
    metrics = metric_names(analysis.config.ks)
    rows: list[tuple[Entry, ...]] = []
    for target in grid.domains:
        for row in cells.rows:
            cell = cells.training_free[row, target]
            used = _yes(cell.target_interactions_used)
            values = [analysis.mean(row, NO_SOURCE, target, protocol, m) for m in metrics]
            rows.append((target, used, row + cell.marks(), *(Number(100 * v) for v in values)))
    return Table(
        f"training_free_{protocol}",
        "Training-free rows",
        "What the target's texts and histories give without any training. " + LEGEND,
        3,
        ("Target", "Interactions used", "Row", *map(title_of, metrics)),
        bold_best(rows, groups=2),
    )


def ablation_table(analysis: Analysis, grid: Grid, protocol: str) -> Table | None:
    """Table 6: variants without one component, between the full method and the reference."""
    ablations = [variant for variant in grid.variants if variant.startswith(ABLATION)]
    pairs = grid.pairs(zero_shot=True)
    if not ablations or not pairs:
        return None
    variants = [v for v in ("recg", *ablations, REFERENCE) if v in grid.variants]
    targets = list(dict.fromkeys(target for _, target in pairs))
    metrics = analysis.config.headline
    paper = protocol == f"sampled_{NUM_NEGATIVES}" and any(
        published(f"{b}-{v}", s, t, m)
        for b in grid.backbones for v in ablations for s, t in pairs for m in metrics
    )  # fmt: skip
    heads = [f"{target} {title_of(metric)}" for target in targets for metric in metrics]
    rows: list[tuple[Entry, ...]] = []
    for source in grid.sources:
        for backbone in grid.backbones:
            for variant in variants:
                model = f"{backbone}-{variant}"
                row: list[Entry] = [source, backbone, variant]
                for target in targets:
                    for metric in metrics:
                        row.append(_ablated(analysis, model, source, target, protocol, metric))
                        if paper:
                            value = published(model, source, target, metric)
                            row.append(Number(value))
                rows.append(tuple(row))
    columns = [name for head in heads for name in ([head, "paper"] if paper else [head])]
    return Table(
        f"table6_{protocol}",
        "Table 6: ablation, zero-shot",
        SIGNIFICANCE,
        3,
        ("Source", "Backbone", "Variant", *columns),
        bold_best(rows, groups=2),
    )


def _ablated(
    analysis: Analysis, model: str, source: str, target: str, protocol: str, metric: str
) -> Number:
    if source == target:
        return Number(None)
    value = 100 * analysis.mean(model, source, target, protocol, metric)
    found = analysis.comparison(model, source, target, protocol, metric, REFERENCE)
    return Number(value, "*" if found and found.verdict != "unclear" else "")


def verdict_table(analysis: Analysis, grid: Grid, protocol: str, against: str) -> Table:
    """The headline NDCG of every cell against its reference, with intervals and p-values."""
    metric = analysis.config.headline[1]
    rows = [
        _verdict_row(analysis, c)
        for c in analysis.comparisons
        if (c.protocol, c.metric, c.against) == (protocol, metric, against)
    ]
    other = f"`{REFERENCE}`" if against == REFERENCE else "the best training-free row"
    return Table(
        f"verdicts_{against.replace('-', '_')}_{protocol}",
        f"{title_of(metric)} against {other.strip('`')}",
        f"Difference in points and relative improvement over {other}, each with its 95 % bootstrap "
        "interval over users; p-values of the paired t-test and of Wilcoxon's signed-rank test, "
        "corrected by Holm over these cells. The verdict is the t-test's.",
        3,
        (
            "Target", "Source", "Model", "Value", "SD over seeds", "Compared with", "Difference",
            "95 % interval", "Relative", "95 % interval", "p (t)", "p (Wilcoxon)", "Verdict",
        ),
        tuple(rows),
    )  # fmt: skip


def _verdict_row(analysis: Analysis, c: Comparison) -> tuple[Entry, ...]:
    column = analysis.column(c.protocol, c.metric)
    deviation = 100 * float(analysis.targets[c.target].seed_std[c.model, c.source][column])
    value = 100 * analysis.mean(c.model, c.source, c.target, c.protocol, c.metric)
    relative = 100 * c.relative if _finite(c.relative) else None
    ends = "-" if relative is None else _range(c.relative_low, c.relative_high)
    return (
        c.target, c.source, c.model, Number(value),
        Number(deviation if _finite(deviation) else None), c.other,
        Number(100 * c.difference, form="+.2f"), _range(c.low, c.high),
        Number(relative, form="+.1f", marks=" %" if relative is not None else ""), ends,
        Number(c.p_t, form=".2g"), Number(c.p_wilcoxon, form=".2g"), c.verdict,
    )  # fmt: skip


def comparisons_table(analysis: Analysis) -> Table:
    """Every comparison of every metric, for programs."""
    fields = list(Comparison.__dataclass_fields__)
    rows = [
        tuple(_plain(getattr(comparison, field)) for field in fields)
        for comparison in analysis.comparisons
    ]
    return Table("comparisons", "All comparisons", "Fractions.", 7, tuple(fields), tuple(rows))


def slices_table(analysis: Analysis, titles: dict[str, str], *, zero_shot: bool) -> Table:
    """NDCG under full ranking of every row on parts of the users."""
    found = [
        part
        for result in analysis.targets.values()
        for part in result.slices
        if (part.source != part.target) == zero_shot
    ]
    models = list(dict.fromkeys(n for part in found for n in part.values if n != part.best_free))
    rows: list[tuple[Entry, ...]] = []
    for part in found:
        values = [part.values.get(model) for model in models]
        free = part.values[part.best_free]
        rows.append(
            (
                part.target, part.source, titles[part.attribute], part.label,
                Number(part.num_users, form=",d"),
                *(Number(None if value is None else 100 * value) for value in values),
                Number(100 * free, note=part.best_free),
                Number(100 * part.difference, form="+.2f"), _range(part.low, part.high),
            )
        )  # fmt: skip
    words = "zero-shot" if zero_shot else "in-domain"
    return Table(
        f"slices_{words.replace('-', '_')}",
        f"Slices, {words}",
        f"{title_of(analysis.config.headline[1])} under full ranking. The last two columns: the "
        "best model of the cell minus its best training-free row, and Student's 95 % interval. "
        "Popularity is counted in the target's training histories, for this table alone.",
        4,
        (
            "Target", "Source", "Slice", "Values", "Users", *models, "Best training-free",
            "Difference", "95 % interval",
        ),
        tuple(rows),
    )  # fmt: skip


def calibration_table(analysis: Analysis) -> Table:
    """Pairs of rows that change places between full and sampled ranking."""
    rows: list[tuple[Entry, ...]] = [
        (
            r.target, r.source, r.one, r.other, Number(100 * r.full, form="+.2f"),
            Number(100 * r.sampled, form="+.2f"), "yes" if r.clear else "no",
        )
        for result in analysis.targets.values()
        for r in sorted(result.reversals, key=lambda r: (not r.clear, -abs(r.sampled)))
    ]  # fmt: skip
    metric = title_of(analysis.config.headline[1])
    return Table(
        "calibration",
        "Pairs in another order",
        f"{metric} of the first row minus that of the second under each protocol, in points; clear "
        "where both 95 % intervals leave out 0.",
        4,
        ("Target", "Source", "One", "Other", "Full", "Sampled", "Clear"),
        tuple(rows),
    )


def certificate_table(cells: Cells) -> Table:
    """What each cell's model saw of its target."""
    every: Iterable[tuple[str, str, str, Any]] = [
        *((m, s, t, cell) for (m, s, t), cell in cells.trained.items()),
        *((row, "-", t, cell) for (row, t), cell in cells.training_free.items()),
    ]
    rows: list[tuple[Entry, ...]] = [
        (
            name, source, target,
            *(_yes(cell.saw.get(key)) for key in (
                "zero_shot", "target_text_seen", "target_interactions_used",
            )),
            *(Number(None if (share := cell.saw.get(key)) is None else 100 * share) for key in (
                "user_overlap", "item_overlap",
            )),
            Number(cell.num_seeds, form="d"), Number(cell.num_users, form=",d"),
            Number(cell.mean_candidates, form=",.1f"),
        )
        for name, source, target, cell in every
    ]  # fmt: skip
    return Table(
        "certificates",
        "Certificates",
        "What the model of each cell saw of its target before it ranked there. Overlap: percent of "
        "the target's test users (or items) that occur in the source, by id.",
        3,
        (
            "Model", "Source", "Target", "Zero-shot", "Target texts seen",
            "Target interactions used", "User overlap", "Item overlap", "Seeds", "Users",
            "Candidates",
        ),
        tuple(rows),
    )  # fmt: skip


def _range(low: float, high: float) -> str:
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def _finite(value: float) -> bool:
    return abs(value) < float("inf")


def _yes(value: object) -> str:
    return "-" if value is None else "yes" if value else "no"


def _plain(value: object) -> Entry:
    if isinstance(value, float):
        return Number(value if _finite(value) else None, form=".6g")
    return str(value)
