"""What beats what, by how much and how surely: the report's first page and its scalars."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from recg_core.ranking.metrics import NO_SOURCE
from recg_core.report.analysis import TRAINING_FREE, Analysis
from recg_core.report.cells import REFERENCE, Cells, Grid
from recg_core.report.layout import Entry, Number, Table, bold_best
from recg_core.report.per_user import FULL
from recg_core.report.statistics import interval
from recg_core.report.tables import LEGEND, title_of

Row = tuple[str, str, str]  # name, source, target
MEANS = {"mean_zero_shot": True, "mean_in_domain": False}


def build_summary(analysis: Analysis, cells: Cells, grid: Grid) -> dict[str, Any]:
    """The headline metrics of every cell and the means over cells, as nested fractions.

    A training-free row's means weigh each target by its trained cells, so that they compare.

    Returns:
        `{model: {"IS_to_VG": {protocol: {metric: value}}, "mean_zero_shot": ...}}`, with
        `to_VG` for training-free rows.
    """
    summary: dict[str, Any] = {}
    for model, source, target in cells.trained:
        address = f"{source}_to_{target}"
        summary.setdefault(model, {})[address] = _headline(analysis, [(model, source, target)])
    for row, target in cells.training_free:
        found = _headline(analysis, [(row, NO_SOURCE, target)])
        summary.setdefault(row, {})[f"to_{target}"] = found
    for name in summary:
        for key, zero_shot in MEANS.items():
            if rows := averaged_rows(cells, grid, name, zero_shot=zero_shot):
                summary[name][key] = _headline(analysis, rows)
    return summary


def averaged_rows(cells: Cells, grid: Grid, name: str, *, zero_shot: bool) -> list[Row]:
    """The cells that the mean of a model or training-free row goes over; none: no mean."""
    pairs = grid.pairs(zero_shot=zero_shot)
    if name in cells.rows:
        return [(name, NO_SOURCE, target) for _, target in pairs]
    return [(name, s, t) for s, t in pairs if (name, s, t) in cells.trained]


def averages_table(analysis: Analysis, cells: Cells, grid: Grid, protocol: str) -> Table:
    """Mean over the zero-shot cells and over the in-domain cells, of models and rows."""
    names = [*dict.fromkeys(model for model, _, _ in cells.trained), *cells.rows]
    recall, ndcg = analysis.config.headline
    rows: list[tuple[Entry, ...]] = []
    for name in names:
        free = cells.training_free.get((name, grid.domains[0]))
        over = averaged_rows(cells, grid, name, zero_shot=True)
        used = any(uses_interactions(cells, row) for row in over)
        entries: list[Entry] = ["yes" if used else "no", name + (free.marks() if free else "")]
        for zero_shot in MEANS.values():
            over = averaged_rows(cells, grid, name, zero_shot=zero_shot)
            if not over:
                entries += [Number(None), Number(None), "-"]
                continue
            mean, low, high = analysis.average(over, protocol, ndcg)
            entries.append(Number(100 * analysis.average(over, protocol, recall)[0]))
            entries += [Number(100 * mean), f"{100 * low:.2f} to {100 * high:.2f}"]
        for against in (REFERENCE, TRAINING_FREE):
            entries.append(_score(analysis, name, protocol, ndcg, against))
        rows.append(tuple(entries))
    heads = [
        f"{kind} {head}"
        for kind in ("Zero-shot", "In-domain")
        for head in (title_of(recall), title_of(ndcg), "95 % interval")
    ]
    return Table(
        f"averages_{protocol}",
        "Averages",
        f"{LEGEND} Intervals: bootstrap over users. Interactions used: of the target, by the "
        "zero-shot cells; rows with and without do not compete. Last columns: zero-shot cells that "
        f"are better / not clearly different / worse by {title_of(ndcg)}, corrected by Holm.",
        2,
        (
            "Interactions used",
            "Model",
            *heads,
            f"Against {REFERENCE}",
            "Against best training-free",
        ),
        bold_best(rows, groups=1),
    )


def findings(analysis: Analysis, cells: Cells, grid: Grid, protocol: str) -> list[str]:
    """Sentences on the zero-shot cells: the best rows, and each variant against both rivals."""
    if not grid.pairs(zero_shot=True):
        return ["The grid has one domain, so that nothing is zero-shot."]
    metric = analysis.config.headline[1]
    said = [_best_rows(analysis, cells, grid, protocol, metric)]
    for variant in grid.variants:
        models = [f"{backbone}-{variant}" for backbone in grid.backbones]
        over = [row for m in models for row in averaged_rows(cells, grid, m, zero_shot=True)]
        if not over:
            continue
        sentence = f"`{variant}`: "
        if variant != REFERENCE and (gain := _gain(analysis, over, protocol, metric)):
            sentence += f"{gain}; "
        for against, words in ((REFERENCE, f"`{REFERENCE}`"), (TRAINING_FREE, "training-free")):
            counts = _counts(analysis, models, protocol, metric, against)
            if total := sum(counts.values()):
                sentence += (
                    f"against {words} better in {counts['better']} of {total} cells, worse in "
                    f"{counts['worse']}, not clearly different in {counts['unclear']}; "
                )
        said.append(sentence.removesuffix("; ") + ".")
    return said


def _best_rows(analysis: Analysis, cells: Cells, grid: Grid, protocol: str, metric: str) -> str:
    """The trained model and the training-free row with the highest zero-shot mean."""
    means: dict[bool, dict[str, tuple[float, float, float]]] = {True: {}, False: {}}
    names = [*dict.fromkeys(model for model, _, _ in cells.trained), *cells.rows]
    for name in names:
        over = averaged_rows(cells, grid, name, zero_shot=True)
        if over and not any(uses_interactions(cells, row) for row in over):
            trained = name not in cells.rows
            means[trained][name] = analysis.average(over, protocol, metric)
    parts = []
    for trained, kind in ((True, "trained model"), (False, "training-free row")):
        if found := means[trained]:
            name = max(found, key=lambda key: found[key][0])
            mean, low, high = found[name]
            parts.append(
                f"the best {kind} is `{name}` with {100 * mean:.2f} % "
                f"(95 % interval {100 * low:.2f} to {100 * high:.2f})"
            )
    ranking = "full ranking" if protocol == FULL else f"{analysis.config.num_negatives} negatives"
    head = f"Zero-shot without interactions of the target, {title_of(metric)}, {ranking}: "
    return head + "; ".join(parts) + "."


def _gain(analysis: Analysis, over: Sequence[Row], protocol: str, metric: str) -> str | None:
    """Relative improvement of a variant's mean over that of the reference, with its interval."""
    pairs = [
        (row, (f"{row[0].partition('-')[0]}-{REFERENCE}", row[1], row[2]))
        for row in over
        if analysis.comparison(*row, protocol, metric, REFERENCE)
    ]
    if not pairs:
        return None
    column = analysis.column(protocol, metric)

    def draws(rows: Sequence[Row]) -> np.ndarray:
        return np.mean([analysis.targets[t].samples[n, s][:, column] for n, s, t in rows], axis=0)

    ours, theirs = [row for row, _ in pairs], [row for _, row in pairs]
    mean = analysis.average(ours, protocol, metric)[0]
    reference = analysis.average(theirs, protocol, metric)[0]
    if not reference:
        return None
    low, high = interval(draws(ours) / draws(theirs) - 1)
    return (
        f"{100 * (mean / reference - 1):+.1f} % relative to `{REFERENCE}` in the mean "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f} %)"
    )


def _counts(
    analysis: Analysis, models: Sequence[str], protocol: str, metric: str, against: str
) -> Counter[str]:
    return Counter(
        c.verdict
        for c in analysis.comparisons
        if c.model in models
        and (c.protocol, c.metric, c.against) == (protocol, metric, against)
        and c.source != c.target
    )


def _score(analysis: Analysis, name: str, protocol: str, metric: str, against: str) -> str:
    counts = _counts(analysis, [name], protocol, metric, against)
    if not counts:
        return "-"
    return f"{counts['better']} / {counts['unclear']} / {counts['worse']}"


def uses_interactions(cells: Cells, row: Row) -> bool:
    """Whether a cell's model used interactions of the target."""
    name, _, target = row
    cell = cells.trained.get(row) or cells.training_free[name, target]
    return cell.target_interactions_used


def _headline(analysis: Analysis, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    return {
        protocol: {
            metric: float(np.mean([analysis.mean(*row, protocol, metric) for row in rows]))
            for metric in analysis.config.headline
        }
        for protocol in (FULL, analysis.config.protocols.sampled)
    }
