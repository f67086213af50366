"""The tables that the paper lacks, from an analysis."""

import math
from dataclasses import fields

from recg_core.base.sources import in_domain
from recg_core.evaluation.slices import ATTRIBUTES
from recg_core.models.ranking.metrics import metric_names
from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import REFERENCE, SMALL_MARK, Cell, Cells
from recg_core.report.comparisons import Comparison
from recg_core.report.layout import Entry, Number, Table, bold_best, percent
from recg_core.report.wording import LEGEND, range_of, title_of, yes_or_no


def training_free_table(analysis: Analysis, protocol: str) -> Table:
    """Every training-free row for every target."""
    rows: list[tuple[Entry, ...]] = []
    caption = "What the target's texts and histories give without any training. "
    for target in analysis.cells.grid.domains:
        if names := ", ".join(f"`{name}`" for name in analysis.cells.lacking(target)):
            caption += f"{target} has no {names}, which is therefore in no mean over pairs. "
        for cell in analysis.cells.of_target(target):
            if not cell.trained:
                used = yes_or_no(cell.saw.target_interactions_used)
                numbers = map(percent, analysis.metrics(cell, protocol).values())
                name = analysis.cells.label(target)
                rows.append((name, used, f"{cell.model}{cell.marks}", *numbers))
    return Table(
        f"training_free_{protocol}",
        "Training-free rows",
        caption + LEGEND,
        3,
        ("Target", "Interactions used", "Row", *map(title_of, metric_names(analysis.config.ks))),
        bold_best(rows, groups=2),
    )


def verdict_table(analysis: Analysis, protocol: str, against: str) -> Table:
    """The headline NDCG of every cell against its reference, with intervals and p-values."""
    view = analysis.view(protocol, analysis.config.headline[1])
    other = f"`{REFERENCE}`" if against == REFERENCE else "the best training-free row"
    return Table(
        f"verdicts_{against.replace('-', '_')}_{protocol}",
        f"{title_of(view.metric)} against {other.strip('`')}",
        f"Difference in points and relative improvement over {other}, each with its 95 % bootstrap "
        "interval over users; p-values of the paired t-test and of Wilcoxon's signed-rank test, "
        "corrected by Holm over these cells. The verdict is the t-test's.",
        3,
        (
            "Target", "Source", "Model", "Value", "SD over seeds", "Compared with", "Difference",
            "95 % interval", "Relative", "95 % interval", "p (t)", "p (Wilcoxon)", "Verdict",
        ),
        tuple(_verdict_row(view, c) for c in view.comparisons(against)),
    )  # fmt: skip


def _verdict_row(view: View, c: Comparison) -> tuple[Entry, ...]:
    relative = percent(c.relative, " %", "+.1f")
    ends = range_of(c.relative_low, c.relative_high, ".1f")
    return (
        c.cell.target, c.cell.source, str(c.cell.model), percent(view.value(c.cell)),
        percent(view.seed_std(c.cell)), str(c.other.model),
        percent(c.difference, form="+.2f"), range_of(c.low, c.high), relative, ends,
        Number(c.p_t, form=".2g"), Number(c.p_wilcoxon, form=".2g"), c.verdict,
    )  # fmt: skip


def comparisons_table(analysis: Analysis) -> Table:
    """Every comparison of every metric, for programs."""
    names = [field.name for field in fields(Comparison) if field.name not in ("cell", "other")]
    words = names[: names.index("difference")]
    numbers = names[len(words) : -1]
    rows: list[tuple[Entry, ...]] = []
    for c in analysis.comparisons:
        said = (getattr(c, name) for name in words)
        values = (getattr(c, name) for name in numbers)
        rows.append(
            (
                str(c.cell.model), c.cell.source, c.cell.target, *said, str(c.other.model),
                *(Number(v if math.isfinite(v) else None, form=".6g") for v in values), c.verdict,
            )
        )  # fmt: skip
    columns = ("model", "source", "target", *words, "other", *numbers, "verdict")
    return Table("comparisons", "All comparisons", "Fractions.", 7, columns, tuple(rows))


def slices_table(analysis: Analysis, *, zero_shot: bool) -> Table:
    """NDCG under full ranking of every model on parts of the users."""
    found = [part for part in analysis.slices if in_domain(part.source, part.target) != zero_shot]
    models = list(dict.fromkeys(c.model for part in found for c in part.values if c.trained))
    rows: list[tuple[Entry, ...]] = []
    for part in found:
        values = {cell.model: value for cell, value in part.values.items()}
        free = part.best_free.model
        rows.append(
            (
                analysis.cells.label(part.target), part.source, ATTRIBUTES[part.attribute],
                f"{part.label} {SMALL_MARK}" if part.small else part.label,
                Number(part.num_users, form=",d"), *(percent(values.get(m)) for m in models),
                percent(values[free], note=str(free)),
                percent(None if part.small else part.difference, form="+.2f"),
                "-" if part.small else range_of(part.low, part.high),
            )
        )  # fmt: skip
    words = "zero-shot" if zero_shot else "in-domain"
    return Table(
        f"slices_{words.replace('-', '_')}",
        f"Slices, {words}",
        f"{title_of(analysis.config.headline[1])} under full ranking. The last two columns: the "
        "best model of the pair minus its best training-free row, and Student's 95 % interval. "
        "Popularity is counted in the target's training histories, for this table alone.",
        4,
        (
            "Target", "Source", "Slice", "Values", "Users", *map(str, models),
            "Best training-free", "Difference", "95 % interval",
        ),
        tuple(rows),
    )  # fmt: skip


def certificate_table(cells: Cells) -> Table:
    """What each cell's model saw of its target."""
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
        tuple(_certificate_row(cells, cell) for cell in cells.by_key.values()),
    )  # fmt: skip


def _certificate_row(cells: Cells, cell: Cell) -> tuple[Entry, ...]:
    saw, certificate = cell.saw, cell.certificate
    # A training-free row has no source whose users and items could be the target's.
    source, *shares = (
        (cell.source, saw.user_overlap, saw.item_overlap) if cell.trained else ("-", None, None)
    )
    seen = (saw.zero_shot, saw.target_text_seen, saw.target_interactions_used)
    return (
        str(cell.model), source, cells.label(cell.target),
        *map(yes_or_no, seen), *map(percent, shares),
        Number(certificate.num_seeds, form="d"), Number(certificate.num_users, form=",d"),
        Number(certificate.mean_candidates, form=",.1f"),
    )  # fmt: skip
