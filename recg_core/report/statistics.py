"""What a difference between two rows is worth: paired tests, Holm's correction, the bootstrap.

The unit is a user: values are means over seeds, and two rows are compared over the same users.

Legend: U users, M columns (metrics of one or more rows), B resamples.
"""

from collections.abc import Iterator

import numpy as np
from scipy import stats

_CHUNK = 50  # resamples at a time


def paired_t_test(differences_UM: np.ndarray) -> np.ndarray:
    """Two-sided p-values [M] of Student's paired t-test; 1 where no user differs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = stats.ttest_1samp(differences_UM, 0.0, axis=0).pvalue
    return np.where((differences_UM == 0).all(axis=0), 1.0, np.nan_to_num(p_values, nan=1.0))


def wilcoxon_test(differences_UM: np.ndarray) -> np.ndarray:
    """Two-sided p-values [M] of Wilcoxon's signed-rank test; users without a difference are left
    out, and p is 1 where none differs."""
    return np.array([_wilcoxon(column) for column in differences_UM.T])


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


def bootstrap_means(values_UM: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """Column means [B, M] over users drawn with replacement.

    All columns see the same draws, so that differences and ratios of columns are paired.
    """
    num_users = len(values_UM)
    parts = [
        counts @ values_UM / num_users for counts in _draw_counts(num_users, num_resamples, seed)
    ]
    return np.concatenate(parts)


def interval(samples: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the percentile interval over the first axis."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high


def t_interval(differences: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of one column; the mean itself for a single user."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return mean, mean
    spread = float(stats.sem(differences) * stats.t.ppf((1 + confidence) / 2, len(differences) - 1))
    return mean - spread, mean + spread


def _wilcoxon(differences: np.ndarray) -> float:
    differing = differences[differences != 0]
    return float(stats.wilcoxon(differing).pvalue) if len(differing) else 1.0


def _draw_counts(num_users: int, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn in each resample, float64 [resamples of a chunk, U]."""
    random = np.random.default_rng(seed)
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        counts = np.empty((size, num_users))
        for row in counts:
            drawn = random.integers(0, num_users, num_users, dtype=np.int32)
            row[:] = np.bincount(drawn, minlength=num_users)
        yield counts
