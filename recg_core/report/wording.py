"""Words and signs that several tables share."""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from recg_core.report.cells import INTERACTIONS_MARK, REFERENCE, TEXT_MARK, Cells

if TYPE_CHECKING:  # it brings scipy, which the words alone need not wait for
    from recg_core.report.comparisons import Comparison

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


def fewer_negatives(cells: Cells, targets: Iterable[str], num_negatives: int) -> str:
    """In brackets, the targets whose catalogues have no more than the negatives to sample."""
    found = []
    for target in targets:
        others = cells.of_target(target)[0].certificate.mean_candidates - 1
        if others <= num_negatives:
            found.append(f"all {others:,.0f} others on `{target}`")
    return f" ({', '.join(found)})" if found else ""


def arrow(compared: "Comparison | None") -> str:
    """Whether a cell is above or below its opponent."""
    return {"better": "▲", "worse": "▼"}.get(compared.verdict, "") if compared else ""


def star(compared: "Comparison | None") -> str:
    """Whether a cell differs from its opponent."""
    return "*" if compared and compared.verdict != "unclear" else ""


def title_of(metric: str) -> str:
    """`recall@10` as the paper prints it."""
    name, k = metric.split("@")
    return f"{ {'recall': 'Recall', 'ndcg': 'NDCG'}[name] }@{k}"


def range_of(low: float, high: float, form: str = ".2f") -> str:
    """The ends of an interval of fractions, in points with their signs; "-" where it has none."""
    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{100 * low:+{form}} to {100 * high:+{form}}"


def yes_or_no(value: bool) -> str:
    """A truth value in words."""
    return "yes" if value else "no"


def preparation(preprocess: Mapping[str, Any]) -> str:
    """The section `preprocess` of params.yaml as one sentence."""
    split = preprocess["split"]
    words = f"`{split}`"
    if isinstance(split, Mapping):
        moments = f"{split['train_end']} and {split['test_start']}"
        words = f"at {moments}, the same moments for all domains"
    own = [f"`{name}`" for name in preprocess.get("domains") or {}]
    exceptions = f"; {', '.join(own)} with settings of their own" if own else ""
    return (
        f"Items kept by the text rule `{preprocess['text_rule']}`, then "
        f"{preprocess['k_core']}-core over users and items to a fixed point; split "
        f"{words}{exceptions}."
    )
