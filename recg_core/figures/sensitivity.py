"""Figure 2: how results depend on one setting, as curves with intervals over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recg_core.figures.draw import Figure, Line, LinePanel

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half the width of its 95 % interval, NaN for a single seed."""

    mean: float
    half_width: float


@dataclass(frozen=True)
class Measured:
    """What one value of the setting gave."""

    value: float
    valid: dict[str, Estimate]  # NDCG@10 on the validation items of each source
    recall: dict[tuple[str, str], Estimate]  # Recall@10 of each source and unseen target
    ndcg: dict[tuple[str, str], Estimate]  # NDCG@10 likewise


def estimate(mean: float, std: float | None, num_seeds: int) -> Estimate:
    """The mean of seeds with Student's t interval.

    The seeds' spread is what a difference between settings has to exceed: they all rank the same
    users, so that the choice of users moves all of them together.

    Args:
        std: standard deviation (n - 1) over seeds; none for a single one.
    """
    from scipy.stats import t

    if std is None or num_seeds < 2:
        return Estimate(mean, math.nan)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, num_seeds - 1))
    return Estimate(mean, quantile * std / math.sqrt(num_seeds))


def read_measured(
    value: float, validation: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]
) -> Measured:
    """Collect the metrics of one value.

    Args:
        validation: the validation JSON of each source.
        cells: the metrics JSON of each zero-shot cell; full ranking is read.
    """

    def of_cell(cell: Mapping[str, Any], metric: str) -> Estimate:
        std = cell.get("seed_std", {}).get("full", {}).get(metric)
        return estimate(cell["full"][metric], std, cell["num_seeds"])

    names = [(cell["source"], cell["target"]) for cell in cells]
    return Measured(
        value,
        {
            content["source"]: estimate(
                content["valid_ndcg@10"],
                content.get("seed_std", {}).get("valid_ndcg@10"),
                content["num_seeds"],
            )
            for content in validation
        },
        {name: of_cell(cell, "recall@10") for name, cell in zip(names, cells, strict=True)},
        {name: of_cell(cell, "ndcg@10") for name, cell in zip(names, cells, strict=True)},
    )


def best_by_validation(scores: Sequence[Mapping[str, float]]) -> int:
    """The position of the setting whose mean over sources is highest, the first of equals.

    Args:
        scores: NDCG@10 on the validation items of each source, for each setting.
    """
    return int(np.argmax([np.mean(list(score.values())) for score in scores]))


def sensitivity_panels(key: str, measured: Sequence[Measured]) -> list[LinePanel]:
    """A panel for source validation and one a target, a curve a source, NDCG@10 in percent."""
    measured = sorted(measured, key=lambda point: point.value)
    sources = list(measured[0].valid)
    targets = list(dict.fromkeys(target for _, target in measured[0].ndcg))

    def line(source: str, estimates: Sequence[Estimate]) -> Line:
        return Line(
            f"trained on {source}",
            [point.value for point in measured],
            [100 * found.mean for found in estimates],
            [100 * found.half_width for found in estimates],
        )

    validation = [line(s, [point.valid[s] for point in measured]) for s in sources]
    panels = [LinePanel("source validation", key, "NDCG@10, %", validation)]
    for target in targets:
        lines = [
            line(source, [point.ndcg[source, target] for point in measured])
            for source in sources
            if (source, target) in measured[0].ndcg
        ]
        panels.append(LinePanel(f"zero-shot on {target}", key, "NDCG@10, %", lines))
    return panels


def describe_sensitivity(key: str, model: str, measured: Sequence[Measured]) -> Figure:
    """The words and the table of a sensitivity figure; metrics in percent, full ranking."""
    measured = sorted(measured, key=lambda point: point.value)
    scores = [{s: found.mean for s, found in point.valid.items()} for point in measured]
    best = measured[best_by_validation(scores)].value
    intervals = any(
        not math.isnan(found.half_width) for point in measured for found in point.ndcg.values()
    )
    rows: list[list[str | float | None]] = [
        [point.value, source, target, *_percent(point.valid[source]),
         *_percent(point.recall[source, target]), *_percent(point.ndcg[source, target])]
        for point in measured
        for source, target in point.ndcg
    ]  # fmt: skip
    return Figure(
        title=f"Sensitivity of {model} to {key}",
        caption=(
            f"NDCG@10 of {model} in full ranking by {key}, on the source's validation items and "
            "zero-shot on each target. "
            + ("Bars are 95 % intervals over seeds. " if intervals else "One seed: no intervals. ")
            + f"By source validation alone, the mean over sources, {key} = {best:g} is chosen."
        ),
        alt=f"Curves of NDCG@10 over {len(measured)} values of {key}, one a source, for source "
        "validation and for each target. The table has the numbers.",
        columns=[key, "Source", "Target", "Valid. NDCG@10", "±", "Recall@10", "±", "NDCG@10", "±"],
        rows=rows,
    )


def _percent(found: Estimate) -> list[float | None]:
    half = None if math.isnan(found.half_width) else round(100 * found.half_width, 2)
    return [round(100 * found.mean, 2), half]
