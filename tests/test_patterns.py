"""Sequential patterns: the equations, k-means, and a fusion that never hurts the source."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from recg_core.base.errors import UserError
from recg_core.base.files import write_sealed_json
from recg_core.domains.domain import Domain
from recg_core.models.patterns import (
    Patterns,
    attention_weights,
    load_patterns,
    normalized_entropy,
    save_patterns,
)
from recg_core.models.trained import TrainedModel
from recg_core.models.variant import PatternsConfig
from recg_core.training.config import FusionConfig
from recg_core.training.fusion import _last_transitions, extract_patterns, fit_patterns
from recg_core.training.trainer import Trainer
from tests.conftest import alone, ragged
from tests.test_training import CPU, SEM, SHORT, spec, trained_model

CONFIG = FusionConfig(batch_size=64, learning_rate=0.01, max_epochs=5, patience=5, negatives=16)
PART = PatternsConfig(clusters=4)


def trained(cycle: Domain) -> TrainedModel:
    variant = dataclasses.replace(SEM, patterns=PART)
    made = Trainer(alone(cycle), {}, spec("gru4rec", cycle, variant), SHORT, 0, CPU).fit()
    return trained_model(made, variant, cycle)


def test_attention_is_the_softmax_of_the_cosine() -> None:
    """Eqs. 17-18 word for word."""
    users = torch.tensor([[3.0, 4.0]])
    patterns = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    weights = [math.exp(0.6), math.exp(0.8), math.exp(-0.6)]
    expected = torch.tensor([[w / sum(weights) for w in weights]])
    torch.testing.assert_close(attention_weights(users, patterns, 1.0), expected)


def test_fusion_by_hand() -> None:
    """Eqs. 19-21: equal weights, so the attended pattern is (1, 1); W_f adds half of it."""
    patterns = Patterns(
        torch.tensor([[2.0, 0.0], [0.0, 2.0]]),
        torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.5]]),
        temperature=1.0,
    )
    fused = patterns.fuse(torch.tensor([[3.0, 3.0]]))
    torch.testing.assert_close(fused, torch.tensor([[3.5, 3.5]]))


def test_without_temperature_many_patterns_are_mixed_almost_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    users = torch.randn((100, 64), generator=generator)
    patterns = torch.randn((50, 64), generator=generator)
    assert normalized_entropy(attention_weights(users, patterns, 1.0)) > 0.99
    assert normalized_entropy(attention_weights(users, patterns, 0.05)) < 0.7


def test_the_entropy_of_an_even_mixture_is_one_and_of_a_choice_zero() -> None:
    assert normalized_entropy(torch.full((3, 4), 0.25)) == pytest.approx(1)
    assert normalized_entropy(torch.eye(4)) == pytest.approx(0)


def test_k_means_finds_separate_groups_largest_first() -> None:
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 10.0], [10.0, 0.0], [-10.0, -10.0]])
    sizes = [20, 50, 30]
    users = np.concatenate(
        [c + 0.1 * rng.standard_normal((n, 2)) for c, n in zip(centers, sizes, strict=True)]
    ).astype(np.float32)
    found, counts = extract_patterns(users, 3, seed=0)
    assert counts.tolist() == [50, 30, 20]
    np.testing.assert_allclose(found, centers[[1, 2, 0]], atol=0.1)


def test_more_patterns_than_distinct_users_are_refused() -> None:
    users = np.ones((10, 2), dtype=np.float32)
    with pytest.raises(UserError, match="only 1 distinct user vectors; lower clusters"):
        extract_patterns(users, 2, seed=0)


def test_last_transitions_by_hand() -> None:
    history, target = _last_transitions(ragged([[1, 2, 3], [4], [], [5, 6]]))
    assert history.values.tolist() == [1, 2, 5]
    assert history.offsets.tolist() == [0, 2, 3]
    assert target.tolist() == [3, 6]


def test_fusion_starts_as_the_identity_and_is_kept_only_when_validation_gains(
    cycle: Domain,
) -> None:
    model = trained(cycle)
    _, summary = fit_patterns(model, PART, alone(cycle), CONFIG, seed=0)
    assert summary.valid_ndcg >= summary.valid_ndcg_without
    assert sum(summary.users_per_pattern) == len(cycle.sequences.items)

    # With a step so large that every epoch hurts, the start is kept: users stay as they are.
    harmful = dataclasses.replace(CONFIG, learning_rate=1e3)
    kept, summary = fit_patterns(model, PART, alone(cycle), harmful, seed=0)
    users = torch.randn((5, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(kept.fuse(users), users)
    assert summary.valid_ndcg == summary.valid_ndcg_without


def test_the_same_seed_gives_the_same_patterns(cycle: Domain) -> None:
    model = trained(cycle)
    first, _ = fit_patterns(model, PART, alone(cycle), CONFIG, seed=3)
    second, _ = fit_patterns(model, PART, alone(cycle), CONFIG, seed=3)
    assert torch.equal(first.centroids_KD, second.centroids_KD)
    assert torch.equal(first.fusion, second.fusion)


def test_patterns_of_another_dimension_are_refused(tmp_path: Path) -> None:
    save_patterns(Patterns(torch.zeros(3, 8), torch.zeros(8, 16), 1.0), tmp_path, 0)
    write_sealed_json(tmp_path / "patterns.json", {"clusters": 3})
    found = load_patterns(tmp_path, 0, PatternsConfig(3), 8)
    assert found is not None
    assert found.centroids_KD.shape == (3, 8)
    with pytest.raises(UserError, match="8 dimensions, the model has 16; run the cluster stage"):
        load_patterns(tmp_path, 0, PatternsConfig(3), 16)
