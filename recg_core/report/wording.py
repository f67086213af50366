"""Words and signs that several tables share."""

from recg_core.report.cells import INTERACTIONS_MARK, REFERENCE, TEXT_MARK

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


def range_of(low: float, high: float) -> str:
    """The ends of an interval of fractions, in points with their signs."""
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def is_finite(value: float) -> bool:
    """Whether a value is a number: neither infinite nor nan."""
    return abs(value) < float("inf")


def yes_or_no(value: bool) -> str:
    """A truth value in words."""
    return "yes" if value else "no"
