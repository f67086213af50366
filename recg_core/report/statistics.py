"""What a difference between two rows is worth: paired tests, Holm's correction, the bootstrap.

The unit is a user: values are means over seeds, and two rows are compared over the same users.
Metrics are fractions of 1. To the tests, differences that agree to nine decimals are equal, and
those below half of the ninth are none: what lies beyond depends on the order of a sum, and
Wilcoxon's ranks would make as much of it as of any other difference.

Legend: U users, M columns (metrics of one or more rows), B resamples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.05
DECIMALS = 9  # of a metric, beyond which nothing counts
_CHUNK = 50  # resamples whose draws are multiplied at a time


def without_noise(differences: np.ndarray) -> np.ndarray:
    """The differences rounded to what counts: nine decimals of a metric whose scale is 1."""
    return np.round(differences, DECIMALS)


def paired_t_test(differences_UM: np.ndarray) -> np.ndarray:
    """Two-sided p-values [M] of Student's paired t-test; 1 where no user differs."""
    differences_UM = without_noise(differences_UM)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = stats.ttest_1samp(differences_UM, 0.0, axis=0).pvalue
    return np.where((differences_UM == 0).all(axis=0), 1.0, np.nan_to_num(p_values, nan=1.0))


def wilcoxon_test(differences_UM: np.ndarray) -> np.ndarray:
    """Two-sided p-values [M] of Wilcoxon's signed-rank test; users without a difference are left
    out, and p is 1 where none differs."""
    differing = [column[column != 0] for column in without_noise(differences_UM).T]
    return np.array([stats.wilcoxon(c).pvalue if len(c) else 1.0 for c in differing])


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values of one family adjusted by Holm's step-down method.

    The i-th smallest of m (from 0) times m - i, never below its predecessor, at most 1: rejecting
    below alpha keeps the chance of any false rejection at alpha.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * (count - np.arange(count)))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def judged(family: Sequence[Any]) -> list[Any]:
    """Comparisons with p-values corrected by Holm, and what they say.

    `better` or `worse` where the t-test's corrected p-value is below 0.05, else `unclear`.

    Args:
        family: dataclasses with `difference`, `p_t`, `p_wilcoxon` and `verdict`.
    """
    p_t, p_wilcoxon = (
        holm(np.array([getattr(one, name) for one in family])).tolist()
        for name in ("p_t", "p_wilcoxon")
    )
    found = []
    for one, t, wilcoxon in zip(family, p_t, p_wilcoxon, strict=True):
        verdict = "better" if one.difference > 0 else "worse"
        verdict = verdict if t < SIGNIFICANCE else "unclear"
        found.append(replace(one, p_t=t, p_wilcoxon=wilcoxon, verdict=verdict))
    return found


def bootstrap_means(
    blocks: Iterable[np.ndarray], num_users: int, num_resamples: int, seed: int
) -> np.ndarray:
    """Column means [B, M] over users drawn with replacement.

    All columns see the same draws, so that differences and ratios of columns are paired.

    Args:
        blocks: of the values [U, M], some users after the other.
        num_users: of all blocks.
    """
    counts_BU = _draw_counts(num_users, num_resamples, seed)
    total_BM, start = np.zeros(()), 0
    for values_UM in blocks:
        counts_Bu = counts_BU[:, start : start + len(values_UM)]
        parts = [
            counts_Bu[chunk : chunk + _CHUNK].astype(np.float64) @ values_UM
            for chunk in range(0, num_resamples, _CHUNK)
        ]
        total_BM, start = total_BM + np.concatenate(parts), start + len(values_UM)
    return total_BM / num_users


def interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the percentile interval over the first axis."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high


def relative_interval(
    samples: np.ndarray, reference: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile interval of samples / reference - 1 over the first axis.

    nan where the reference is 0 in a sample: then there is no end to how much larger the other is.
    """
    unknown = np.where((reference == 0).any(axis=0), np.nan, 0.0)
    ratios = samples / np.where(reference == 0, 1.0, reference)
    low, high = interval(ratios - 1, confidence)
    return low + unknown, high + unknown


def t_interval(differences: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of one column; the mean itself for a single user."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return mean, mean
    spread = float(stats.sem(differences) * stats.t.ppf((1 + confidence) / 2, len(differences) - 1))
    return mean - spread, mean + spread


def _draw_counts(num_users: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each user is drawn in each resample, uint8 [B, U]; nobody is 256 times."""
    random = np.random.default_rng(seed)
    counts = np.empty((num_resamples, num_users), dtype=np.uint8)
    for row in counts:
        drawn = random.integers(0, num_users, num_users, dtype=np.int32)
        row[:] = np.bincount(drawn, minlength=num_users)
    return counts
