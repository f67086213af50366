"""What beats what, by how much and how surely: the report's first page and its scalars."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import (
    INTERACTIONS_MARK,
    INTERACTIONS_USED,
    REFERENCE,
    TOO_SMALL,
    Cell,
    Cells,
    Model,
    summary_key,
)
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.config import FULL
from recg_core.report.layout import Entry, Table, bold_best, percent
from recg_core.report.statistics import relative_interval
from recg_core.report.wording import LEGEND, fewer_negatives, range_of, title_of, yes_or_no

MEANS = {"mean_zero_shot": True, "mean_in_domain": False}


def build_summary(analysis: Analysis) -> dict[str, Any]:
    """The headline metrics of every cell and the means over cells, as nested fractions.

    A training-free row's means weigh each target by its trained cells, so that they compare.
    Targets that are too small are in no mean, and their cells say `too_small`.

    Returns:
        `{model: {"IS_to_VG": {protocol: {metric: value}, "target_interactions_used": bool},
        "mean_zero_shot": {protocol: {metric: value}}, ...}}`, with `to_VG` for training-free rows.
    """
    summary: dict[str, Any] = {str(model): {} for model in analysis.cells.models}
    for cell in analysis.cells.by_key.values():
        said = {INTERACTIONS_USED: cell.saw.target_interactions_used}
        if cell.small:
            said[TOO_SMALL] = True
        key = summary_key(cell.source, cell.target)
        summary[str(cell.model)][key] = _headline(analysis, [cell]) | said
    for model in analysis.cells.models:
        for key, zero_shot in MEANS.items():
            if over := analysis.cells.counted(model, zero_shot=zero_shot):
                summary[str(model)][key] = _headline(analysis, over)
    return summary


def _headline(analysis: Analysis, cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """The means over cells."""
    found: dict[str, dict[str, float]] = {}
    for protocol in (FULL, analysis.config.sampled):
        views = [analysis.view(protocol, metric) for metric in analysis.config.headline]
        found[protocol] = {v.metric: float(np.mean([v.value(c) for c in cells])) for v in views}
    return found


def rows_table(analysis: Analysis) -> Table:
    """What each variant and training-free row is, and what it reads of a target."""
    cells = analysis.cells
    rows: dict[str, tuple[Entry, ...]] = {}
    for model in cells.models:
        cell = next(found for found in cells.by_key.values() if found.model == model)
        used = cells.uses_interactions(model, zero_shot=True)
        name = f"{model.variant}{INTERACTIONS_MARK if used else ''}"
        rows.setdefault(model.variant, (name, cell.certificate.description))
    return Table(
        "rows",
        "What each row is",
        f"Variants are trained, with every backbone; the others are not. {INTERACTIONS_MARK} uses "
        "interactions of a target that it was not trained on.",
        1,
        ("Row", "What it does"),
        tuple(rows.values()),
        words=True,
    )


def averages_table(analysis: Analysis, *, zero_shot: bool) -> Table | None:
    """Mean over the zero-shot or the in-domain cells, under both protocols; None without cells."""
    cells = analysis.cells
    protocols = {"Full": FULL, "Sampled": analysis.config.sampled}
    views = {
        head: [analysis.view(protocol, metric) for metric in analysis.config.headline]
        for head, protocol in protocols.items()
    }
    opponents = (REFERENCE, TRAINING_FREE) if zero_shot else ()
    rows: list[tuple[Entry, ...]] = []
    for model in cells.models:
        if not (over := cells.counted(model, zero_shot=zero_shot)):
            continue
        used = cells.uses_interactions(model, zero_shot=True)
        # Rows with and without interactions do not compete; in-domain all trained ones use some.
        entries: list[Entry] = [yes_or_no(used and zero_shot), _marked(cells, model, zero_shot)]
        for recall, ndcg in views.values():
            mean, low, high = ndcg.average(over)
            entries += [percent(recall.average(over)[0]), percent(mean)]
            entries.append(f"{100 * low:.2f} to {100 * high:.2f}")
        for _, ndcg in views.values():
            entries += [_score(ndcg, model, against) for against in opponents]
        rows.append(tuple(entries))
    if not rows:
        return None
    metrics = [title_of(metric) for metric in analysis.config.headline]
    heads = [f"{head} {name}" for head in views for name in (*metrics, "95 % interval")]
    names = {REFERENCE: f"against {REFERENCE}", TRAINING_FREE: "against training-free"}
    scores = [f"{head} {names[against]}" for head in views for against in opponents]
    kind = "zero-shot" if zero_shot else "in-domain"
    explained = (
        " Rows with and without interactions of the target do not compete. Last columns: pairs "
        f"that are better / not clearly different / worse by {metrics[1]}, corrected by Holm, than "
        f"`{REFERENCE}` or the best training-free row of the target."
    )
    return Table(
        f"averages_{kind.replace('-', '_')}",
        f"Means, {kind}",
        f"{LEGEND} Full: among all items; sampled: against {analysis.config.num_negatives} "
        f"negatives{fewer_negatives(cells, cells.large, analysis.config.num_negatives)}. "
        f"Intervals: of the NDCG, bootstrap over users.{explained if zero_shot else ''}",
        1,
        ("Model", *heads, *scores),
        tuple(row[1:] for row in bold_best(rows, groups=1)),
    )


def _marked(cells: Cells, model: Model, zero_shot: bool) -> str:
    """The model's name; a training-free row's marks are those of its first target."""
    first = next(cell for cell in cells.by_key.values() if cell.model == model)
    if not first.trained:
        return f"{model}{first.marks}"
    used = zero_shot and cells.uses_interactions(model, zero_shot=True)
    return f"{model}{INTERACTIONS_MARK if used else ''}"


def _score(view: View, model: Model, against: str) -> str:
    counts = count_verdicts(view, [model], against)
    if not counts:
        return "-"
    return f"{counts['better']}/{counts['unclear']}/{counts['worse']}"


def count_verdicts(view: View, models: Sequence[Model], against: str) -> Counter[str]:
    """How many zero-shot cells of the models have each verdict against an opponent."""
    return Counter(
        c.verdict
        for c in view.comparisons(against)
        if c.cell.model in models and not c.cell.in_domain
    )


def gains(analysis: Analysis) -> list[str]:
    """A sentence on how far each variant's zero-shot results are from the reference's."""
    cells, grid = analysis.cells, analysis.cells.grid
    metric = analysis.config.headline[1]
    words = {FULL: "by full ranking", analysis.config.sampled: "by sampled ranking"}
    said = []
    for variant in grid.variants:
        models = [Model(backbone, variant) for backbone in grid.backbones]
        over = [cell for model in models for cell in cells.counted(model, zero_shot=True)]
        found = {
            protocol: gain
            for protocol in words
            if (gain := _gain(analysis.view(protocol, metric), over))
        }
        if found:
            parts = ", ".join(f"{gain} {words[protocol]}" for protocol, gain in found.items())
            said.append(f"`{variant}`: {parts}")
    if not said:
        return []
    head = (
        f"Zero-shot {title_of(metric)} relative to `{REFERENCE}`, all backbones together, first of "
        "the means and then the mean of what each cell gains: "
    )
    return [head + "; ".join(said) + "."]


def _gain(view: View, over: Sequence[Cell]) -> str | None:
    """Relative improvement of a variant's mean over that of the reference, with its interval, and
    the mean of the improvements of its cells, which every pair enters alike."""
    compared = [found for cell in over if (found := view.against(cell, REFERENCE))]
    ours, theirs = [found.cell for found in compared], [found.other for found in compared]
    if not compared or not (reference := view.average(theirs)[0]):
        return None
    mean = view.average(ours)[0]
    low, high = map(float, relative_interval(view.samples(ours), view.samples(theirs)))
    ends = "no interval, since it is 0 in some samples"
    if not math.isnan(low):
        ends = f"95 % interval {range_of(low, high, '.1f')} %"
    of_cells = [found.relative for found in compared if math.isfinite(found.relative)]
    return (
        f"{100 * (mean / reference - 1):+.1f} % ({ends}) and "
        f"{100 * float(np.mean(of_cells)):+.1f} %"
    )


def rivalry(analysis: Analysis) -> list[str]:
    """A sentence on how often each variant is above or below the best training-free row.

    A cell is a pair of domains with a backbone. Where no backbone of a variant is at work in other
    domains, its cells of a pair are one result and count once: above or below if they all are.
    """
    view = analysis.view(FULL, analysis.config.headline[1])
    counted = [(variant, _rivalry(view, variant)) for variant in analysis.cells.grid.variants]
    said = [f"`{variant}` {words}" for variant, words in counted if words]
    if not said:
        return []
    head = f"Zero-shot {title_of(view.metric)} against the best training-free row of the target: "
    return [head + "; ".join(said) + "."]


def _rivalry(view: View, variant: str) -> str | None:
    cells = view.analysis.cells
    verdicts: dict[tuple[str, str], list[str]] = {}  # of all backbones, by pair
    for c in view.comparisons(TRAINING_FREE):
        if c.cell.model.variant == variant and not c.cell.in_domain:
            verdicts.setdefault((c.cell.source, c.cell.target), []).append(c.verdict)
    if not verdicts:
        return None
    outcomes = [verdict for of_pair in verdicts.values() for verdict in of_pair]
    pairs = f"{len(verdicts)} pair{'' if len(verdicts) == 1 else 's'}"
    unit, backbones = pairs, len(cells.grid.backbones)
    if backbones > 1 and cells.backbone_ranks(variant):
        unit = f"{len(outcomes)} cells ({pairs} with {backbones} backbones)"
    elif backbones > 1:
        outcomes = [of[0] if len(set(of)) == 1 else "unclear" for of in verdicts.values()]
        unit = f"{pairs} (each counts once, since no backbone ranks there)"
    counts = Counter(outcomes)
    return f"above in {counts['better']} and below in {counts['worse']} of {unit}"
