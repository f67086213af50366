"""What beats what, by how much and how surely: the report's first page and its scalars."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import (
    INTERACTIONS_USED,
    MIN_CANDIDATES,
    MIN_USERS,
    REFERENCE,
    TOO_SMALL,
    Cell,
    Cells,
    Model,
    summary_key,
)
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.config import FULL
from recg_core.report.layout import Entry, Number, Table, bold_best, percent
from recg_core.report.statistics import interval
from recg_core.report.wording import LEGEND, fewer_negatives, title_of

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


def averages_table(analysis: Analysis, protocol: str) -> Table:
    """Mean over the zero-shot cells and over the in-domain cells, of models and rows."""
    recall, ndcg = (analysis.view(protocol, metric) for metric in analysis.config.headline)
    cells = analysis.cells
    rows: list[tuple[Entry, ...]] = []
    for model in cells.models:
        used = cells.uses_interactions(model, zero_shot=True)
        entries: list[Entry] = ["yes" if used else "no", _marked(cells, model)]
        for zero_shot in MEANS.values():
            over = cells.counted(model, zero_shot=zero_shot)
            if not over:
                entries += [Number(None), Number(None), "-"]
                continue
            mean, low, high = ndcg.average(over)
            entries += [percent(recall.average(over)[0]), percent(mean)]
            entries.append(f"{100 * low:.2f} to {100 * high:.2f}")
        entries += [_score(ndcg, model, against) for against in (REFERENCE, TRAINING_FREE)]
        rows.append(tuple(entries))
    heads = [
        f"{kind} {head}"
        for kind in ("Zero-shot", "In-domain")
        for head in (title_of(recall.metric), title_of(ndcg.metric), "95 % interval")
    ]
    opponents = (f"Against {REFERENCE}", "Against best training-free")
    return Table(
        f"averages_{protocol}",
        "Averages",
        f"{LEGEND} Intervals: bootstrap over users. Interactions used: of the target, by the "
        "zero-shot cells; rows with and without do not compete. Last columns: zero-shot cells that "
        f"are better / not clearly different / worse by {title_of(ndcg.metric)}, corrected by "
        "Holm.",
        2,
        ("Interactions used", "Model", *heads, *opponents),
        bold_best(rows, groups=1),
    )


def _marked(cells: Cells, model: Model) -> str:
    """The model's name; a training-free row's marks are those of its first target."""
    first = next(cell for cell in cells.by_key.values() if cell.model == model)
    return str(model) if first.trained else f"{model}{first.marks}"


def _score(view: View, model: Model, against: str) -> str:
    counts = _counts(view, [model], against)
    if not counts:
        return "-"
    return f"{counts['better']} / {counts['unclear']} / {counts['worse']}"


def _counts(view: View, models: Sequence[Model], against: str) -> Counter[str]:
    """How many zero-shot cells of the models have each verdict."""
    return Counter(
        c.verdict
        for c in view.comparisons(against)
        if c.cell.model in models and c.cell.source != c.cell.target
    )


def findings(analysis: Analysis, protocol: str) -> list[str]:
    """Sentences on the zero-shot cells: the best rows, and each variant against both rivals."""
    cells, grid = analysis.cells, analysis.cells.grid
    if not grid.pairs(zero_shot=True):
        return ["No domain of the grid is a target of another, so that nothing is zero-shot."]
    if all(cells.small(target) for _, target in grid.pairs(zero_shot=True)):
        return [
            f"No target has {MIN_USERS} test users and {MIN_CANDIDATES} candidates, so that "
            "nothing is compared: the cells below are too small to mean anything."
        ]
    view = analysis.view(protocol, analysis.config.headline[1])
    said = [_best_models(view, cells)]
    for variant in grid.variants:
        models = [Model(backbone, variant) for backbone in grid.backbones]
        over = [cell for model in models for cell in cells.counted(model, zero_shot=True)]
        if not over:
            continue
        parts = [gain] if (gain := _gain(view, over)) else []
        for against, words in ((REFERENCE, f"`{REFERENCE}`"), (TRAINING_FREE, "training-free")):
            counts = _counts(view, models, against)
            if total := sum(counts.values()):
                parts.append(
                    f"against {words} better in {counts['better']} of {total} cells, worse in "
                    f"{counts['worse']}, not clearly different in {counts['unclear']}"
                )
        said.append(f"`{variant}`: {'; '.join(parts)}.")
    return said


def _best_models(view: View, cells: Cells) -> str:
    """The trained model and the training-free row with the highest zero-shot mean."""
    over = {
        model: found
        for model in cells.models
        if not cells.uses_interactions(model, zero_shot=True)
        and (found := cells.counted(model, zero_shot=True))
    }
    parts = []
    for kind, trained in (("trained model", True), ("training-free row", False)):
        means = {m: view.average(found) for m, found in over.items() if bool(m.backbone) == trained}
        if means:
            best = max(means, key=lambda model: means[model][0])
            mean, low, high = means[best]
            parts.append(
                f"the best {kind} is `{best}` with {100 * mean:.2f} % "
                f"(95 % interval {100 * low:.2f} to {100 * high:.2f})"
            )
    negatives = view.analysis.config.num_negatives
    sampled = f"{negatives} negatives{fewer_negatives(cells, cells.large, negatives)}"
    ranking = "full ranking" if view.protocol == FULL else sampled
    head = f"Zero-shot without interactions of the target, {title_of(view.metric)}, {ranking}: "
    return head + "; ".join(parts) + "."


def _gain(view: View, over: Sequence[Cell]) -> str | None:
    """Relative improvement of a variant's mean over that of the reference, with its interval."""
    compared = [found for cell in over if (found := view.against(cell, REFERENCE))]
    ours, theirs = [found.cell for found in compared], [found.other for found in compared]
    if not compared or not (reference := view.average(theirs)[0]):
        return None
    mean = view.average(ours)[0]
    low, high = interval(view.samples(ours) / view.samples(theirs) - 1)
    return (
        f"{100 * (mean / reference - 1):+.1f} % relative to `{REFERENCE}` in the mean "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f} %)"
    )
