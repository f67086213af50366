"""Comparing the cells of two revisions by their stored ranks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.base.errors import UserError
from recg_core.models.ranking.metrics import NUM_NEGATIVES
from recg_core.models.ranking.ranks import SeedRanks
from recg_core.report.config import FULL, Protocols
from recg_core.report.per_user import check_same_users, user_values
from recg_core.report.statistics import (
    bootstrap_means,
    interval,
    judged,
    paired_t_test,
    wilcoxon_test,
    without_noise,
)
from recg_core.report.wording import range_of

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

    @property
    def difference(self) -> float:
        """What B has more than A."""
        return self.after - self.before


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and how finely."""

    metric: str = "ndcg@10"
    protocol: str = FULL
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
    changes = []
    for name in names:
        ranks = [read_before(name), read_after(name)]
        labels = [f"{name} in revision {revision}" for revision in ("A", "B")]
        check_same_users(dict(zip(labels, ranks, strict=True)))
        values = user_values(labels, dict(zip(labels, ranks, strict=True)).__getitem__, protocols)
        before, after = (values.column(label, column) for label in labels)
        changes.append(_change(name, before, after, config))
    others = iter(judged([change for change in changes if change.verdict != "same"]))
    return [change if change.verdict == "same" else next(others) for change in changes]


def _change(name: str, before: np.ndarray, after: np.ndarray, config: CompareConfig) -> CellChange:
    """The change of a cell from its metric of every user; p-values are not corrected yet."""
    means = float(before.mean()), float(after.mean())
    differences = without_noise(after - before)[:, None]
    if not differences.any():
        return CellChange(name, *means, 0.0, 0.0, 1.0, 1.0, "same")
    samples = bootstrap_means([differences], len(differences), config.num_resamples, config.seed)
    low, high = interval(samples)
    p_t, p_wilcoxon = paired_t_test(differences), wilcoxon_test(differences)
    numbers = (means[0], means[1], low.item(), high.item(), p_t.item(), p_wilcoxon.item())
    return CellChange(name, *numbers, "unclear")


def changes_table(changes: Sequence[CellChange]) -> str:
    """The changes as a Markdown table, in percent; cells that are the same are counted below."""
    lines = [
        "| cell | A | B | B - A | 95 % interval | p (t) | p (Wilcoxon) | verdict |",
        "|---|--:|--:|--:|:-:|--:|--:|---|",
    ]
    changed = [change for change in changes if change.verdict != "same"]
    lines += [
        f"| {c.cell} | {100 * c.before:.2f} | {100 * c.after:.2f} | {100 * c.difference:+.2f} "
        f"| {range_of(c.low, c.high)} | {c.p_t:.3g} | {c.p_wilcoxon:.3g} | {c.verdict} |"
        for c in changed
    ]
    same = len(changes) - len(changed)
    said = [f"{same} cell(s) are the same for every user."] if same else []
    return "\n".join([*(lines if changed else []), *said])


def _protocols(config: CompareConfig) -> Protocols:
    """The protocol and cut-off that `config` names; any k and any number of negatives."""
    metric = re.fullmatch(r"(recall|ndcg)@([1-9][0-9]*)", config.metric)
    if not metric:
        raise UserError(f"metric '{config.metric}': expected recall@K or ndcg@K")
    protocol = re.fullmatch(r"full|sampled_([1-9][0-9]*)", config.protocol)
    if not protocol:
        raise UserError(f"protocol '{config.protocol}': expected full or sampled_N, sampled_100")
    return Protocols((int(metric[2]),), int(protocol[1] or NUM_NEGATIVES))
