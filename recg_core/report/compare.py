"""Comparing the cells of two revisions by their stored ranks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.base.errors import UserError
from recg_core.models.ranking.ranks import SeedRanks
from recg_core.report.per_user import Protocols, check_same_users, user_metrics
from recg_core.report.statistics import (
    bootstrap_means,
    holm,
    interval,
    paired_t_test,
    wilcoxon_test,
)

SIGNIFICANCE = 0.05
ReadRanks = Callable[[str], SeedRanks]


@dataclass(frozen=True)
class CellChange:
    """How one cell's mean metric differs from revision A to revision B, in fractions."""

    cell: str
    before: float
    after: float
    low: float  # ends of the 95 % bootstrap interval of after - before
    high: float
    p_t: float  # both corrected by Holm over the changed cells
    p_wilcoxon: float
    verdict: str  # same | better | worse | unclear


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and how finely."""

    metric: str = "ndcg@10"
    protocol: str = "full"
    num_resamples: int = 1000
    seed: int = 0


def compare_cells(
    names: Sequence[str], read_before: ReadRanks, read_after: ReadRanks, config: CompareConfig
) -> list[CellChange]:
    """Compare cells by name, the same users of both revisions pair by pair.

    A cell in which no user's metric differs is `same` and no test; the others form one family for
    Holm's correction. `better` and `worse` need a corrected t-test below 0.05.

    Args:
        names: cells that both revisions have.
        read_before: gives revision A's ranks of a cell.
        read_after: gives revision B's.

    Raises:
        UserError: when the metric or protocol is unknown, or users or catalogues differ.
    """
    protocols = _protocols(config)
    column = protocols.columns.index((config.protocol, config.metric))
    values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in names:
        ranks = [read_before(name), read_after(name)]
        labels = [f"{name} in revision {revision}" for revision in ("A", "B")]
        check_same_users(dict(zip(labels, ranks, strict=True)))
        before, after = (found.values[:, column] for found in user_metrics(ranks, protocols))
        values[name] = before, after
    changed = [name for name, (before, after) in values.items() if (before != after).any()]
    differences = {name: (values[name][1] - values[name][0])[:, None] for name in changed}
    p_t = holm(np.array([paired_t_test(part)[0] for part in differences.values()]))
    p_wilcoxon = holm(np.array([wilcoxon_test(part)[0] for part in differences.values()]))
    corrected = dict(zip(changed, zip(p_t.tolist(), p_wilcoxon.tolist(), strict=True), strict=True))
    found = []
    for name, (before, after) in values.items():
        means = float(before.mean()), float(after.mean())
        if name not in corrected:
            found.append(CellChange(name, *means, 0.0, 0.0, 1.0, 1.0, "same"))
            continue
        samples = bootstrap_means(differences[name], config.num_resamples, config.seed)
        low, high = (float(end[0]) for end in interval(samples))
        t, wilcoxon = corrected[name]
        judged = verdict(means[1] - means[0], t)
        found.append(CellChange(name, *means, low, high, t, wilcoxon, judged))
    return found


def verdict(difference: float, p_value: float) -> str:
    """`better` or `worse` where the corrected p-value is below 0.05, else `unclear`."""
    if p_value >= SIGNIFICANCE:
        return "unclear"
    return "better" if difference > 0 else "worse"


def changes_table(changes: Sequence[CellChange]) -> str:
    """The changes as a Markdown table, in percent; cells that are the same are counted below."""
    lines = [
        "| cell | A | B | B - A | 95 % interval | p (t) | p (Wilcoxon) | verdict |",
        "|---|--:|--:|--:|:-:|--:|--:|---|",
    ]
    for change in changes:
        if change.verdict == "same":
            continue
        difference = 100 * (change.after - change.before)
        lines.append(
            f"| {change.cell} | {100 * change.before:.2f} | {100 * change.after:.2f} "
            f"| {difference:+.2f} | {100 * change.low:+.2f} to {100 * change.high:+.2f} "
            f"| {change.p_t:.3g} | {change.p_wilcoxon:.3g} | {change.verdict} |"
        )
    same = sum(change.verdict == "same" for change in changes)
    shown = lines if same < len(changes) else []
    return "\n".join([*shown, *([f"{same} cell(s) are the same for every user."] if same else [])])


def _protocols(config: CompareConfig) -> Protocols:
    """The protocol and cut-off that `config` names; any k and any number of negatives."""
    kind, _, k = config.metric.partition("@")
    sampled, _, negatives = config.protocol.partition("_")
    if kind not in ("recall", "ndcg") or not k.isdecimal() or int(k) < 1:
        raise UserError(f"metric '{config.metric}': expected recall@K or ndcg@K")
    if config.protocol == "full":
        return Protocols((int(k),))
    if sampled != "sampled" or not negatives.isdecimal() or int(negatives) < 1:
        raise UserError(f"protocol '{config.protocol}': expected full or sampled_N, sampled_100")
    return Protocols((int(k),), int(negatives))
