"""Recall and NDCG against hand-worked numbers, enumeration of all samples, and Monte Carlo."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.models.ranking.metrics import mean_metrics, metric_names, ranking_metrics

Case = tuple[int, int, int]  # num_higher, num_ties, num_candidates


def metrics_of(
    case: Case, ks: tuple[int, ...], num_negatives: int | None = None
) -> dict[str, float]:
    columns = [np.array([value]) for value in case]
    return {k: v[0] for k, v in ranking_metrics(*columns, ks, num_negatives).items()}


def gain(metric: str, position: int, k: int) -> float:
    if position >= k:
        return 0.0
    return 1.0 if metric == "recall" else 1 / math.log2(position + 2)


def enumerated(case: Case, metric: str, k: int, num_negatives: int) -> float:
    """Mean gain over every set of negatives and every place among the ties drawn with it."""
    higher, ties, candidates = case
    labels = ["higher"] * higher + ["tie"] * ties + ["lower"] * (candidates - 1 - higher - ties)
    gains = []
    for negatives in itertools.combinations(labels, min(num_negatives, len(labels))):
        above, tied = negatives.count("higher"), negatives.count("tie")
        places = [gain(metric, above + before, k) for before in range(tied + 1)]
        gains.append(sum(places) / len(places))
    return sum(gains) / len(gains)


@st.composite
def cases(draw: st.DrawFn, most: int = 100_000) -> Case:
    candidates = draw(st.integers(1, most))
    higher = draw(st.integers(0, candidates - 1))
    return higher, draw(st.integers(0, candidates - 1 - higher)), candidates


def test_full_ranking_without_ties_is_the_textbook_definition() -> None:
    assert metrics_of((0, 0, 50), (1, 3)) == {
        "recall@1": 1, "ndcg@1": 1, "recall@3": 1, "ndcg@3": 1,
    }  # fmt: skip
    third = metrics_of((2, 0, 50), (2, 3))
    assert third == {
        "recall@2": 0, "ndcg@2": 0, "recall@3": 1, "ndcg@3": pytest.approx(0.5),
    }  # fmt: skip


def test_ties_share_the_positions_they_could_take() -> None:
    # One item above, two tied: positions 1, 2 and 3 with a third each; k = 3 keeps two of them.
    found = metrics_of((1, 2, 10), (3,))
    assert found["recall@3"] == pytest.approx(2 / 3)
    assert found["ndcg@3"] == pytest.approx((1 / math.log2(3) + 1 / 2) / 3)


def test_sampled_hand_worked() -> None:
    # 2 of 4 others drawn, one of which scores higher: it is in the sample with chance 1/2.
    found = metrics_of((1, 0, 5), (1, 2), num_negatives=2)
    assert found["recall@1"] == pytest.approx(1 / 2)
    assert found["recall@2"] == pytest.approx(1)
    assert found["ndcg@2"] == pytest.approx((1 + 1 / math.log2(3)) / 2)


@pytest.mark.parametrize("num_candidates", [101, 102, 5_000, 24_000])
def test_uniform_scorer_gives_the_known_constants(num_candidates: int) -> None:
    found = metrics_of((0, num_candidates - 1, num_candidates), (5, 10, 20), num_negatives=100)
    percent = {name: round(100 * value, 2) for name, value in found.items()}
    assert percent == {
        "recall@5": 4.95, "ndcg@5": 2.92, "recall@10": 9.90, "ndcg@10": 4.50,
        "recall@20": 19.80, "ndcg@20": 6.97,
    }  # fmt: skip


@pytest.mark.parametrize("num_candidates", [1, 2, 5, 8])
@pytest.mark.parametrize("num_negatives", [1, 2, 3, 6, 7])
def test_sampled_equals_the_mean_over_all_samples(num_candidates: int, num_negatives: int) -> None:
    for higher in range(num_candidates):
        for ties in range(num_candidates - higher):
            case = (higher, ties, num_candidates)
            found = metrics_of(case, (1, 2, 4), num_negatives)
            for name, value in found.items():
                metric, k = name.split("@")
                expected = enumerated(case, metric, int(k), num_negatives)
                assert value == pytest.approx(expected, abs=1e-12), (case, name)


def test_sampled_equals_a_monte_carlo_of_the_protocol() -> None:
    rng = np.random.default_rng(3)
    higher, ties, candidates, draws = 60, 35, 900, 40_000
    lower = candidates - 1 - higher - ties
    above, tied, _ = rng.multivariate_hypergeometric([higher, ties, lower], 100, draws).T
    position = above + np.floor(rng.random(draws) * (tied + 1))
    simulated = {
        "recall@10": np.where(position < 10, 1, 0),
        "ndcg@10": np.where(position < 10, 1 / np.log2(position + 2), 0),
    }
    found = metrics_of((higher, ties, candidates), (10,), num_negatives=100)
    for name, values in simulated.items():
        assert found[name] == pytest.approx(values.mean(), abs=5 * values.std() / draws**0.5)


@settings(deadline=None)
@given(cases())
def test_ranking_against_everything_is_full_ranking(case: Case) -> None:
    full = metrics_of(case, (1, 5, 20))
    assert metrics_of(case, (1, 5, 20), num_negatives=max(case[2] - 1, 1)) == full
    assert metrics_of(case, (1, 5, 20), num_negatives=case[2] + 7) == full


@settings(deadline=None)
@given(cases(most=3000), st.integers(1, 150))
def test_values_are_bounded_and_ordered(case: Case, num_negatives: int) -> None:
    sampled = metrics_of(case, (5, 10), num_negatives)
    full = metrics_of(case, (5, 10))
    for metric in ("recall", "ndcg"):
        assert -1e-12 <= sampled[f"{metric}@5"] <= sampled[f"{metric}@10"] + 1e-12 <= 1 + 2e-12
        assert sampled[f"{metric}@10"] >= full[f"{metric}@10"] - 1e-9  # fewer rivals
    assert sampled["ndcg@10"] <= sampled["recall@10"] + 1e-12


@pytest.mark.parametrize("num_negatives", [None, 100])
def test_a_worse_rank_never_scores_better(num_negatives: int | None) -> None:
    candidates = 24_000
    higher = np.arange(candidates)
    found = ranking_metrics(
        higher, higher * 0, np.full(candidates, candidates), num_negatives=num_negatives
    )
    for values in found.values():
        assert (np.diff(values) <= 1e-10).all()
        assert values[0] == pytest.approx(1)
        assert values[-1] == pytest.approx(0, abs=1e-12)


def test_a_tie_is_the_mean_of_the_positions_it_covers() -> None:
    candidates, higher, ties = 20_000, 150, 1_200
    tied = metrics_of((higher, ties, candidates), (5, 20), 100)
    positions = np.arange(higher, higher + ties + 1)
    single = ranking_metrics(
        positions, positions * 0, np.full(len(positions), candidates), (5, 20), 100
    )
    for name, value in mean_metrics(single).items():
        assert tied[name] == pytest.approx(value, abs=1e-10)


def test_sampled_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for candidates, higher in [(24_000, 1_000), (24_000, 23_999), (150, 60), (102, 100)]:
        chances = stats.hypergeom(candidates - 1, higher, 100).pmf(np.arange(10))
        found = metrics_of((higher, 0, candidates), (10,), num_negatives=100)
        assert found["recall@10"] == pytest.approx(chances.sum(), abs=1e-10)
        assert found["ndcg@10"] == pytest.approx(
            (chances / np.log2(np.arange(10) + 2)).sum(), abs=1e-10
        )


@pytest.mark.parametrize(
    ("case", "ks", "num_negatives"),
    [
        ((3, 0, 3), (5,), None),  # nobody is left for the test item
        ((-1, 0, 3), (5,), None),
        ((0, -1, 3), (5,), None),
        ((0, 0, 3), (0,), None),
        ((0, 0, 3), (), None),
        ((0, 0, 3), (5,), 0),
    ],
)
def test_impossible_input_is_refused(
    case: Case, ks: tuple[int, ...], num_negatives: int | None
) -> None:
    with pytest.raises(ValueError, match=r"must"):
        metrics_of(case, ks, num_negatives)


def test_names_are_in_the_order_of_the_tables() -> None:
    assert metric_names((5, 10)) == ["recall@5", "ndcg@5", "recall@10", "ndcg@10"]


def test_ninety_thousand_users_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    candidates = 24_315 - rng.integers(4, 100, 90_000)
    higher = rng.integers(0, candidates)
    ties = np.where(rng.random(90_000) < 0.5, 0, rng.integers(0, candidates - higher))
    started = time.process_time()
    ranking_metrics(higher, ties, candidates, num_negatives=100)
    assert time.process_time() - started < 1.5
