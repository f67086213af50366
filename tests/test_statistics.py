"""Tests, correction and intervals against plain computations and on data with a known effect."""

from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recg_core.report.statistics import (
    bootstrap_means,
    holm,
    interval,
    paired_t_test,
    relative_interval,
    t_interval,
    wilcoxon_test,
)


def test_t_test_by_hand() -> None:
    differences = np.array([0.1, 0.3, -0.1, 0.4, 0.2])
    mean = differences.sum() / 5
    deviation = sqrt(((differences - mean) ** 2).sum() / 4)
    expected = 2 * stats.t.sf(mean / (deviation / sqrt(5)), df=4)
    assert paired_t_test(differences[:, None])[0] == pytest.approx(expected)


def test_wilcoxon_of_few_users_counts_all_signs() -> None:
    """Without ties the p-value is the share of all 2^n sign patterns at least as extreme."""
    differences = np.array([0.0, 0.5, -0.1, 0.4, 0.3, 0.2, 0.7])
    ranks = stats.rankdata(abs(differences[1:]))
    observed = ranks[differences[1:] > 0].sum()
    sums = [sum(chosen) for size in range(7) for chosen in combinations(ranks.tolist(), size)]
    centre = ranks.sum() / 2
    extreme = [abs(total - centre) >= abs(observed - centre) for total in sums]
    assert wilcoxon_test(differences[:, None])[0] == pytest.approx(np.mean(extreme))


def test_rows_that_do_not_differ_have_p_1() -> None:
    nothing = np.zeros((20, 2))
    assert paired_t_test(nothing).tolist() == [1, 1]
    assert wilcoxon_test(nothing).tolist() == [1, 1]


def test_noise_of_floating_point_sums_decides_nothing() -> None:
    """0.1 + 0.2 is not 0.3 to a computer: a difference that is none, or the larger of equals."""
    ours = np.array([0.1 + 0.2, 0.1 + 0.2, 0.7, 0.4, 0.9, 0.1, 0.8, 0.2])
    theirs = np.array([0.3, 0.0, 0.4, 0.1, 0.6, 0.4, 0.5, 0.6])
    by_hand = np.array([0.0, 0.3, 0.3, 0.3, 0.3, -0.3, 0.3, -0.4])
    assert len(np.unique(abs(ours - theirs))) > len(np.unique(abs(by_hand)))
    for test in (paired_t_test, wilcoxon_test):
        assert test((ours - theirs)[:, None])[0] == test(by_hand[:, None])[0]
        assert test((ours[:1] - theirs[:1])[:, None])[0] == 1
    # Six of seven differences are of the same size, so each has the mean of the ranks 1 to 6.
    expected = stats.wilcoxon([3.5, 3.5, 3.5, 3.5, -3.5, 3.5, -7]).pvalue
    assert wilcoxon_test((ours - theirs)[:, None])[0] == expected


@given(st.integers(0, 2**32 - 1))
def test_another_order_of_the_same_sums_gives_the_same_p_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    differences = simulated_gains(0.1, repeats=1, seed=seed)
    differences[::3] *= 1e-10  # as of test items far below the cut-off, under the sampled protocol
    noisy = differences + random.uniform(-1e-15, 1e-15, differences.shape)
    for test in (paired_t_test, wilcoxon_test):
        assert test(noisy) == pytest.approx(test(differences), rel=1e-6)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """The adjusted p-value of a hypothesis is the worst over all sets that contain it."""
    members = range(len(p_values))
    for i, adjusted in enumerate(holm(np.array(p_values))):
        worst = max(
            min(1.0, len(group) * min(p_values[j] for j in group))
            for size in range(1, len(p_values) + 1)
            for group in combinations(members, size)
            if i in group
        )
        assert adjusted == pytest.approx(worst)


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_bootstrap_draws_with_replacement_and_alike_for_all_columns() -> None:
    values = np.random.default_rng(0).random((40, 3))
    values[:, 2] = values[:, 0] - values[:, 1]
    found = bootstrap_means([values[:7], values[7:]], 40, 120, seed=5)
    draws = np.random.default_rng(5)
    for row in found:
        drawn = draws.integers(0, 40, 40, dtype=np.int32)
        assert row == pytest.approx(values[drawn].mean(axis=0))
    assert found[:, 0] - found[:, 1] == pytest.approx(found[:, 2])


def test_students_interval_ends_where_the_t_test_turns() -> None:
    differences = np.random.default_rng(3).normal(0.2, 1, 25)
    low, high = t_interval(differences)
    for end in (low, high):
        assert paired_t_test((differences - end)[:, None])[0] == pytest.approx(0.05)
    assert t_interval(np.array([0.5])) == (0.5, 0.5)


def test_the_bootstrap_interval_of_many_users_is_the_normal_one() -> None:
    values = np.random.default_rng(1).exponential(size=(4_000, 1))
    low, high = interval(bootstrap_means([values], 4_000, 4_000, seed=2))
    half = 1.96 * values.std() / sqrt(4_000)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def simulated_gains(shift: float, repeats: int, seed: int) -> np.ndarray:
    """Differences in NDCG@10 of 300 users between two rows, [users, repeats].

    Each row's rank is log-uniform over 1..1000 and the better row's is divided by e^shift.
    """
    random = np.random.default_rng(seed)
    one, other = np.exp(random.uniform(0, np.log(1000), (2, 300, repeats)))
    gains = [
        np.where(r <= 10, 1 / np.log2(r + 1), 0)
        for r in (np.maximum(one / np.exp(shift), 1), other)
    ]
    return gains[0] - gains[1]


def test_without_an_effect_one_in_twenty_tests_is_positive() -> None:
    differences = simulated_gains(0.0, repeats=2_000, seed=3)
    sigma = sqrt(0.05 * 0.95 / 2_000)
    assert abs((paired_t_test(differences) < 0.05).mean() - 0.05) < 4 * sigma
    assert abs((wilcoxon_test(differences) < 0.05).mean() - 0.05) < 4 * sigma


def test_holm_keeps_a_family_without_effects_free_of_findings() -> None:
    p_values = paired_t_test(simulated_gains(0.0, repeats=2_000, seed=4)).reshape(200, 10)
    found = np.mean([(holm(family) < 0.05).any() for family in p_values])
    assert found < 0.05 + 4 * sqrt(0.05 * 0.95 / 200)


def test_power_is_what_the_normal_approximation_expects() -> None:
    differences = simulated_gains(0.5, repeats=1_000, seed=5)
    effect = differences.mean() / differences.std() * sqrt(300)
    expected = stats.norm.cdf(effect - 1.96)
    assert 0.3 < expected < 0.95
    assert (paired_t_test(differences) < 0.05).mean() == pytest.approx(expected, abs=0.05)


def test_intervals_cover_the_true_difference() -> None:
    covered = 0
    for repeat in range(200):
        random = np.random.default_rng(repeat)
        values = random.binomial(1, 0.3, (200, 1)) - random.binomial(1, 0.25, (200, 1))
        low, high = interval(bootstrap_means([values.astype(float)], 200, 300, seed=repeat))
        covered += bool(low[0] <= 0.05 <= high[0])
    assert abs(covered / 200 - 0.95) < 4 * sqrt(0.05 * 0.95 / 200)


def test_a_relative_interval_has_no_end_where_the_reference_may_be_nothing() -> None:
    samples = np.array([[0.2, 0.2], [0.3, 0.3], [0.4, 0.4]])
    reference = np.array([[0.1, 0.1], [0.1, 0.0], [0.2, 0.1]])
    low, high = relative_interval(samples, reference, confidence=1.0)
    np.testing.assert_allclose((low[0], high[0]), (1.0, 2.0))
    assert np.isnan(low[1])
    assert np.isnan(high[1])
