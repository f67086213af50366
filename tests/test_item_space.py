"""Numbers of an item space: plain computations and spaces with a known answer."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recg_core.figures.item_space import (
    alignment,
    center_distance,
    cross_domain_pairs,
    domain_probe_accuracy,
    effective_rank,
    measure_items,
    project_pca,
    project_tsne,
    uniformity,
)

SEEDS = st.integers(min_value=0, max_value=1000)


def cloud(num_items: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_items, dim)).astype(np.float32)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector.astype(np.float64) / math.sqrt(sum(float(value) ** 2 for value in vector))


def test_the_probe_is_at_chance_where_domains_are_one_distribution() -> None:
    domains = np.repeat([0, 1, 2], 400)
    assert domain_probe_accuracy(cloud(1200, 4), domains, 0) == pytest.approx(1 / 3, abs=0.05)


def test_the_probe_is_right_where_a_plane_separates_the_domains() -> None:
    domains = np.repeat([0, 1], 50)
    items = cloud(100, 4) + 20 * domains[:, None]
    assert domain_probe_accuracy(items, domains, 0) == 1.0


def test_the_probe_needs_two_domains_and_an_item_a_fold() -> None:
    with pytest.raises(ValueError, match="two domains of 5 items"):
        domain_probe_accuracy(cloud(10, 2), np.zeros(10), 0)
    with pytest.raises(ValueError, match=r"got \[6, 4\]"):
        domain_probe_accuracy(cloud(10, 2), np.repeat([0, 1], [6, 4]), 0)


def test_pairs_are_the_most_similar_texts_of_another_domain() -> None:
    text = np.array([[1, 0], [0, 1], [3, 0.1], [0.1, 5]], dtype=np.float32)
    pairs = cross_domain_pairs(text, np.array([0, 0, 1, 1]))
    assert pairs.tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]


@given(SEEDS)
def test_alignment_is_the_mean_over_pairs(seed: int) -> None:
    items = cloud(6, 3, seed)
    pairs = np.array([[0, 3], [1, 4], [5, 2]])
    slow = [sum((unit(items[i]) - unit(items[j])) ** 2) for i, j in pairs]
    assert alignment(items, pairs) == pytest.approx(sum(slow) / 3)


@given(SEEDS)
def test_uniformity_is_the_log_mean_over_all_pairs(seed: int) -> None:
    items = cloud(7, 3, seed)
    slow = [
        math.exp(-2 * sum((unit(items[i]) - unit(items[j])) ** 2))
        for i, j in combinations(range(7), 2)
    ]
    assert uniformity(items) == pytest.approx(math.log(sum(slow) / len(slow)))


def test_a_collapsed_space_is_aligned_and_not_uniform() -> None:
    items = np.ones((5, 3)) * np.arange(1, 6)[:, None]
    assert alignment(items, np.array([[0, 4]])) == pytest.approx(0)
    assert uniformity(items) == pytest.approx(0)


def test_center_distance_by_hand() -> None:
    """Centres (0, 0) and (6, 8) are 10 apart; every item is 2 from its centre."""
    items = np.array([[2, 0], [-2, 0], [6, 10], [6, 6]], dtype=np.float32)
    assert center_distance(items, np.array([7, 7, 9, 9])) == pytest.approx(5)


@given(SEEDS, st.floats(0.01, 100))
def test_center_distance_knows_neither_scale_nor_place(seed: int, scale: float) -> None:
    items, domains = cloud(30, 3, seed).astype(np.float64), np.repeat([0, 1, 2], 10)
    moved = scale * items + [1, 2, 3]
    assert center_distance(moved, domains) == pytest.approx(center_distance(items, domains))


def test_effective_rank_counts_directions_of_equal_variance() -> None:
    axes = np.concatenate([np.eye(5), -np.eye(5)])  # five orthogonal directions, mean 0
    assert effective_rank(axes) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(10), [1, 2, 3])) == pytest.approx(1)
    assert effective_rank(np.ones((4, 3))) == 1.0


@given(SEEDS)
def test_effective_rank_is_the_exponential_entropy_of_singular_values(seed: int) -> None:
    items = cloud(20, 4, seed).astype(np.float64)
    centered = items - items.mean(axis=0)
    values = np.sqrt(np.linalg.eigvalsh(centered.T @ centered))
    shares = values / values.sum()
    entropy = -sum(share * math.log(share) for share in shares)
    assert effective_rank(items) == pytest.approx(math.exp(entropy), rel=1e-4)


def test_all_numbers_are_those_of_their_functions() -> None:
    items, domains = cloud(20, 3), np.repeat([0, 1], 10)
    pairs = np.array([[0, 10], [1, 11]])
    found = measure_items(items, domains, pairs, 0)
    assert found == {
        "domain_probe_accuracy": domain_probe_accuracy(items, domains, 0),
        "alignment": alignment(items, pairs),
        "uniformity": uniformity(items),
        "center_distance": center_distance(items, domains),
        "effective_rank": effective_rank(items),
    }


def test_pca_keeps_the_distances_of_a_plane() -> None:
    plane = cloud(12, 2).astype(np.float64) @ np.array([[1, 2, 2, 0], [2, 1, -2, 0]]) / 3
    drawn = project_pca(plane)
    for i, j in combinations(range(12), 2):
        assert np.linalg.norm(drawn[i] - drawn[j]) == pytest.approx(
            np.linalg.norm(plane[i] - plane[j])
        )


def test_tsne_keeps_neighbourhoods_and_repeats_itself() -> None:
    groups = np.repeat([0, 1], 60)
    items = cloud(120, 5) + 30 * groups[:, None]
    drawn = project_tsne(items, 20.0, seed=0)
    squared = ((drawn[:, None] - drawn[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    assert (groups[squared.argmin(axis=1)] == groups).all()
    assert project_tsne(items, 20.0, seed=0).tobytes() == drawn.tobytes()
