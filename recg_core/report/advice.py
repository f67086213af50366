"""Which row to use, as sentences that follow from the numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import MIN_CANDIDATES, MIN_USERS, Cells, Model
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.config import FULL
from recg_core.report.summary import count_verdicts
from recg_core.report.wording import fewer_negatives, title_of

_WHERE = {
    False: "In a domain that nobody trained on, without reading its interactions",
    True: "Where the histories of that domain may be read",
}


def of_later_events(statistics: Mapping[str, dict[str, Any]], cells: Cells) -> list[str]:
    """What rows that read a target's histories know of the time after the item asked for."""
    shares = {name: of.get("later_share") or 0.0 for name, of in statistics.items()}
    elsewhere = [cell for cell in cells.by_key.values() if cell.source != cell.target]
    read = any(cell.saw.target_interactions_used for cell in elsewhere)
    if not read or not any(shares.values()):
        return []
    listed = ", ".join(f"`{name}` {100 * share:.1f} %" for name, share in shares.items())
    return [
        "The histories that rows read of a target hold what *other* users did after the item that "
        f"is asked for, as the training data of any model of that domain does ({listed} of all "
        "events, on average). A split by time, see `preprocess.split`, leaves that out."
    ]


class Rivals(NamedTuple):
    """The best trained model and the best training-free row, by a mean over cells."""

    trained: Model
    free: Model


def advice(analysis: Analysis) -> list[str]:
    """What to use in a new domain, without and with its interactions, and in one's own."""
    cells = analysis.cells
    pairs = cells.grid.pairs(zero_shot=True)
    if not pairs:
        return ["No domain of the grid is a target of another, so that nothing is zero-shot."]
    if all(cells.small(target) for _, target in pairs):
        return [
            f"No target has {MIN_USERS} test users and {MIN_CANDIDATES} candidates, so that "
            "nothing is compared: the cells below are too small to mean anything."
        ]
    said = [_zero_shot(analysis, used=used) for used in (False, True)]
    return [sentence for sentence in (*said, _in_domain(analysis)) if sentence]


def _zero_shot(analysis: Analysis, *, used: bool) -> str | None:
    """What to use among the rows that use interactions of the target, or use none.

    None where no trained model is among them.
    """
    full, sampled = _views(analysis)
    best = _best(full, used=used)
    if best is None:
        return None
    trained, free = (_mean(full, model) for model in best)
    counts = count_verdicts(full, [best.trained], TRAINING_FREE)
    total = sum(counts.values())
    rivalry = (
        f"above the best training-free row of the target in {counts['better']} of {total} pairs, "
        f"below in {counts['worse']}"
    )
    ours = f"`{best.trained}` ({_numbers(full, sampled, best.trained)})"
    theirs = f"`{best.free}` ({_numbers(full, sampled, best.free)})"
    if counts["better"] > counts["worse"] and trained > free:
        said = f"use {ours}: it is {rivalry}. The best row without training is {theirs}."
    elif counts["worse"] > counts["better"] or (free > trained and not counts["better"]):
        said = (
            f"use {theirs}, which needs no training. The best trained model is {ours}: it is "
            f"{rivalry}."
        )
    else:
        said = f"{ours} and {theirs}, which needs no training, are level: the model is {rivalry}."
    other = _best(sampled, used=used)
    if other and other.trained != best.trained:
        value = 100 * _mean(sampled, other.trained)
        said += f" By sampled ranking the best trained model is `{other.trained}` ({value:.2f} %)."
    return f"{_WHERE[used]}: {said}"


def _in_domain(analysis: Analysis) -> str | None:
    """The best model of a domain's own interactions, and what a zero-shot one gives away."""
    full, sampled = _views(analysis)
    found = {
        model: full.average(over)[0]
        for model in analysis.cells.models
        if model.backbone and (over := analysis.cells.counted(model, zero_shot=False))
    }
    if not found:
        return None
    best = max(found, key=lambda model: found[model])
    numbers = _numbers(full, sampled, best, zero_shot=False)
    return f"Trained on the domain itself: `{best}` is best in the mean ({numbers})."


def _views(analysis: Analysis) -> tuple[View, View]:
    metric = analysis.config.headline[1]
    return analysis.view(FULL, metric), analysis.view(analysis.config.sampled, metric)


def _best(view: View, *, used: bool) -> Rivals | None:
    cells = view.analysis.cells
    over = [m for m in cells.models if cells.counted(m, zero_shot=True)]
    uses = {model: cells.uses_interactions(model, zero_shot=True) for model in over}
    trained = [m for m in over if m.backbone and uses[m] == used]
    free = [m for m in over if not m.backbone and (used or not uses[m])]
    if not trained or not free:
        return None
    return Rivals(*(max(models, key=lambda m: _mean(view, m)) for models in (trained, free)))


def _mean(view: View, model: Model) -> float:
    return view.average(view.analysis.cells.counted(model, zero_shot=True))[0]


def _numbers(full: View, sampled: View, model: Model, *, zero_shot: bool = True) -> str:
    """A model's mean under both protocols."""
    cells = full.analysis.cells
    over = cells.counted(model, zero_shot=zero_shot)
    mean, low, high = full.average(over)
    negatives = full.analysis.config.num_negatives
    return (
        f"{title_of(full.metric)} {100 * mean:.2f} %, 95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f}, by full ranking, {100 * sampled.average(over)[0]:.2f} % against "
        f"{negatives} negatives{fewer_negatives(cells, cells.large, negatives)}"
    )
