"""Figure 2: how results depend on one setting, as curves with intervals over seeds.

As in the paper: Recall@10 and NDCG@10 of each target against 100 sampled negatives. The table has
both under full ranking as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.figures.draw import Image, Line, LinePanel
from recg_core.models.ranking.metrics import NUM_NEGATIVES, mean_metrics, ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks

CONFIDENCE = 0.95
K = 10  # the cut-off
METRICS = (f"recall@{K}", f"ndcg@{K}")


@dataclass(frozen=True)
class MeanOverSeeds:
    """A mean over seeds and half the width of its 95 % interval, NaN for a single seed."""

    mean: float
    half_width: float


@dataclass(frozen=True)
class Measured:
    """What one value of the setting gave."""

    value: float
    valid: dict[str, MeanOverSeeds]  # NDCG@10 on the validation items of each source
    # Of each source and unseen target: Recall@10 and NDCG@10 in full ranking, and the two against
    # sampled negatives.
    recall: dict[tuple[str, str], MeanOverSeeds]
    ndcg: dict[tuple[str, str], MeanOverSeeds]
    sampled_recall: dict[tuple[str, str], MeanOverSeeds]
    sampled_ndcg: dict[tuple[str, str], MeanOverSeeds]


def over_seeds(values: Sequence[float]) -> MeanOverSeeds:
    """The mean of one value a seed, with Student's t interval.

    The seeds' spread is what a difference between settings has to exceed: they all rank the same
    users, so that the choice of users moves all of them together.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return MeanOverSeeds(mean, math.nan)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return MeanOverSeeds(mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values)))


def measure_value(
    value: float,
    valid: Mapping[str, Sequence[float]],
    ranks: Mapping[tuple[str, str], SeedRanks],
) -> Measured:
    """What one value of the setting gave.

    Args:
        valid: NDCG@10 of each seed on the validation items of each source.
        ranks: of each source and unseen target.
    """
    means = {source: over_seeds(values) for source, values in valid.items()}
    found: list[dict[tuple[str, str], MeanOverSeeds]] = []
    for negatives in (None, NUM_NEGATIVES):
        by_seed = {pair: _by_seed(table, negatives) for pair, table in ranks.items()}
        for metric in METRICS:
            found.append({p: over_seeds([seed[metric] for seed in by_seed[p]]) for p in by_seed})
    return Measured(value, means, *found)


def _by_seed(ranks: SeedRanks, negatives: int | None) -> list[dict[str, float]]:
    """The mean metrics of each seed; None: under full ranking."""
    columns = zip(ranks.num_higher.T, ranks.num_ties.T, strict=True)
    return [
        mean_metrics(ranking_metrics(higher, ties, ranks.num_candidates, (K,), negatives))
        for higher, ties in columns
    ]


def best_by_validation(scores: Sequence[Mapping[str, float]]) -> int:
    """The position of the setting whose mean over sources is highest, the first of equals.

    Args:
        scores: NDCG@10 on the validation items of each source, for each setting.
    """
    return int(np.argmax([np.mean(list(score.values())) for score in scores]))


def sensitivity_panels(key: str, measured: Sequence[Measured]) -> list[LinePanel]:
    """A panel for source validation, and two a target, a curve a source, in percent."""
    measured = sorted(measured, key=lambda point: point.value)
    sources = list(measured[0].valid)
    targets = list(dict.fromkeys(target for _, target in measured[0].ndcg))

    def line(source: str, means: Sequence[MeanOverSeeds]) -> Line:
        return Line(
            f"trained on {source}",
            [point.value for point in measured],
            [100 * found.mean for found in means],
            [100 * found.half_width for found in means],
        )

    validation = [line(s, [point.valid[s] for point in measured]) for s in sources]
    panels = [LinePanel("source validation", key, "NDCG@10, %", validation)]
    for target in targets:
        into = [source for source in sources if (source, target) in measured[0].ndcg]
        recall = [line(s, [point.sampled_recall[s, target] for point in measured]) for s in into]
        ndcg = [line(s, [point.sampled_ndcg[s, target] for point in measured]) for s in into]
        title = f"zero-shot on {target}, sampled"
        panels.append(LinePanel(title, key, "Recall@10, %", recall))
        panels.append(LinePanel(title, key, "NDCG@10, %", ndcg))
    return panels


def describe_sensitivity(key: str, model: str, measured: Sequence[Measured]) -> Image:
    """The words and the table of a sensitivity figure; metrics in percent."""
    measured = sorted(measured, key=lambda point: point.value)
    scores = [{s: found.mean for s, found in point.valid.items()} for point in measured]
    best = measured[best_by_validation(scores)].value
    rows: list[list[str | float | None]] = []
    for point in measured:
        for pair in point.ndcg:
            tables = (point.recall, point.ndcg, point.sampled_recall, point.sampled_ndcg)
            means = [point.valid[pair[0]], *(table[pair] for table in tables)]
            rows.append([point.value, *pair, *(v for mean in means for v in _percent(mean))])
    intervals = any(row[-1] is not None for row in rows)
    names = ("Valid. NDCG@10", "Recall@10", "NDCG@10", "Sampled Recall@10", "Sampled NDCG@10")
    return Image(
        title=f"Sensitivity of {model} to {key}",
        caption=(
            f"{model} by {key}: NDCG@10 on the source's validation items, in full ranking, and "
            f"zero-shot on each target Recall@10 and NDCG@10 against {NUM_NEGATIVES} sampled "
            "negatives, in expectation; the table has full ranking too. "
            + ("Bars are 95 % intervals over seeds. " if intervals else "One seed: no intervals. ")
            + f"By source validation alone, the mean over sources, {key} = {best:g} is chosen."
        ),
        alt=f"Curves of NDCG@10 and Recall@10 over {len(measured)} values of {key}, one a source, "
        "for source validation and for each target. The table has the numbers.",
        columns=[key, "Source", "Target", *(head for name in names for head in (name, "±"))],
        rows=rows,
    )


def _percent(found: MeanOverSeeds) -> list[float | None]:
    half = None if math.isnan(found.half_width) else round(100 * found.half_width, 2)
    return [round(100 * found.mean, 2), half]
