"""Exact ranks against a plain loop, and the cell on disk."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json
from recg_core.base.params import read_params
from recg_core.domains.sequences import Holdout
from recg_core.evaluation.certificate import Saw, overlap_share, write_cell
from recg_core.evaluation.describe import describe_variant
from recg_core.evaluation.examples import example_recommendations
from recg_core.evaluation.training_free import BaselinesConfig, describe_row
from recg_core.models.ranking import tiles
from recg_core.models.ranking.full_rank import (
    Ranks,
    rank_holdout,
    stack_seeds,
    validation_ndcg,
)
from recg_core.models.ranking.ranks import read_ranks
from recg_core.models.rows import Scorer
from recg_core.models.variant import VariantConfig
from tests.conftest import ragged
from tests.rows import PARAMS


def holdout_of(histories: list[list[int]], targets: list[int]) -> Holdout:
    users = np.arange(len(targets), dtype=np.int32)
    return Holdout(users, ragged(histories), np.array(targets, dtype=np.int32))


def table_scorer(scores: Tensor) -> Scorer:
    return Scorer(lambda rows: lambda items: scores[torch.from_numpy(rows)][:, items])


def random_holdout(
    rng: np.random.Generator, num_users: int, num_items: int
) -> tuple[Holdout, Tensor]:
    """Histories of any length, repeats and even the test item included; scores full of ties."""
    histories = [
        rng.integers(1, num_items + 1, rng.integers(0, 2 * num_items)).tolist()
        for _ in range(num_users)
    ]
    targets = rng.integers(1, num_items + 1, num_users).tolist()
    scores = torch.from_numpy(rng.integers(-2, 3, (num_users, num_items)).astype(np.float32))
    return holdout_of(histories, targets), scores


def assert_ranks_by_loop(ranks: Ranks, holdout: Holdout, scores: Tensor) -> None:
    for row, target in enumerate(holdout.target.tolist()):
        history = set(holdout.history.take(np.array([row])).values.tolist()) - {target}
        others = [j for j in range(1, scores.shape[1] + 1) if j not in history and j != target]
        own = scores[row, target - 1]
        assert ranks.num_candidates[row] == len(others) + 1
        assert ranks.num_higher[row] == sum(bool(scores[row, j - 1] > own) for j in others)
        assert ranks.num_ties[row] == sum(bool(scores[row, j - 1] == own) for j in others)


def test_history_is_no_candidate_but_the_test_item_is() -> None:
    holdout = holdout_of([[1, 2], [4]], [3, 1])
    scores = torch.tensor([[9.0, 0, 5, 5, 7], [2.0, 3, 2, 9, 1]])
    ranks = rank_holdout(table_scorer(scores), holdout, 5)
    assert ranks.num_candidates.tolist() == [3, 4]
    assert ranks.num_higher.tolist() == [1, 1]  # items 5 and 2; 1 and 4 are excluded
    assert ranks.num_ties.tolist() == [1, 1]  # items 4 and 3


@settings(deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 50),
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_ranks_in_tiles_equal_a_plain_loop(
    seed: int, num_users: int, num_items: int, scores_at_once: int, history: int, kept: int,
    span: int,
) -> None:  # fmt: skip
    """Each score is shown once, whatever the tiles, the groups of users and what they share."""
    holdout, scores = random_holdout(np.random.default_rng(seed), num_users, num_items)
    scorer = table_scorer(scores)
    if span:
        scorer = replace(scorer, together=lambda rows: replace(scorer, span=span))
    seen = torch.zeros_like(scores)

    def watch(rows: np.ndarray, items: slice, scores_Bn: Tensor) -> None:
        assert scores_Bn.numel() <= max(scores_at_once, len(rows))
        assert torch.equal(scores_Bn, scores[rows][:, items])
        seen[rows, items] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SCORES_AT_ONCE", scores_at_once)
        patch.setattr(tiles, "HISTORY_AT_ONCE", history)
        patch.setattr(tiles, "TILES_KEPT", kept)
        patch.setattr(tiles, "HISTORY_TOGETHER", 3 * history)
        patch.setattr(tiles, "_num_distinct", lambda holdout, rows: 1)  # from three groups on
        ranks = rank_holdout(scorer, holdout, num_items, watch=watch)
    assert_ranks_by_loop(ranks, holdout, scores)
    assert bool((seen == 1).all())


def test_a_large_catalogue_in_large_batches_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    holdout, _ = random_holdout(rng, 70, 2_000)
    scores = torch.from_numpy(rng.standard_normal((70, 2_000)).astype(np.float32))
    assert_ranks_by_loop(rank_holdout(table_scorer(scores), holdout, 2_000), holdout, scores)


def test_scores_are_not_written_to_and_may_be_a_view() -> None:
    holdout = holdout_of([[1], [2]], [2, 3])
    shared = torch.tensor([3.0, 1.0, 2.0])
    scorer = Scorer(lambda rows: lambda items: shared[items].expand(len(rows), -1))
    ranks = rank_holdout(scorer, holdout, 3)
    assert ranks.num_higher.tolist() == [1, 1]
    assert shared.tolist() == [3, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_name_the_culprit(bad: float) -> None:
    scores = torch.zeros(2, 3)
    scores[1, 2] = bad
    with pytest.raises(UserError, match=r"sasrec on games.*NaN or infinite"):
        rank_holdout(
            table_scorer(scores), holdout_of([[1], [1]], [2, 2]), 3, label="sasrec on games"
        )


def test_a_sum_that_overflows_is_no_error() -> None:
    scores = torch.tensor([[3e38, 3e38, 0.0]])
    ranks = rank_holdout(table_scorer(scores), holdout_of([[1]], [3]), 3)
    assert ranks.num_higher.tolist() == [1]


def test_scores_of_another_shape_are_refused() -> None:
    scorer = Scorer(lambda rows: lambda items: torch.zeros(len(rows), 4))
    with pytest.raises(ValueError, match=r"\(1, 3\), got \(1, 4\)"):
        rank_holdout(scorer, holdout_of([[1]], [2]), 3)


def test_nothing_to_rank_is_an_error() -> None:
    with pytest.raises(UserError, match="no user has a held-out item"):
        rank_holdout(table_scorer(torch.zeros(0, 3)), holdout_of([], []), 3)


def test_validation_ndcg_by_hand() -> None:
    # Ranks 1 and 3 of 4: (1 + 1/2) / 2.
    scores = torch.tensor([[0.0, 9, 1, 2], [0.0, 1, 2, 3]])
    holdout = holdout_of([[], []], [2, 2])
    assert validation_ndcg(table_scorer(scores), holdout, 4) == pytest.approx(0.75)
    assert validation_ndcg(table_scorer(scores), holdout, 4, k=2) == pytest.approx(0.5)


def test_a_cell_on_disk_says_what_it_is(tmp_path: Path) -> None:
    counts = np.array([500, 300], dtype=np.int32)
    zero = np.zeros(2, dtype=np.int32)
    by_seed = {0: Ranks(counts, zero, zero), 7: Ranks(counts, zero + 1, zero)}
    ranks = stack_seeds(by_seed, np.array([3, 8], dtype=np.int32))
    saw = Saw(
        zero_shot=True, target_text_seen=True, target_interactions_used=False,
        user_overlap=0.25, item_overlap=0.0,
    )  # fmt: skip
    write_cell(
        tmp_path / "a", "books_to_games", ranks, saw,
        backbone="sasrec", variant="recg", source="books", target="games", curve_sha256="00ff",
    )  # fmt: skip

    stored = read_sealed_json(tmp_path / "a" / "books_to_games.json", "")
    assert stored == {
        "backbone": "sasrec", "variant": "recg", "source": "books", "target": "games",
        "transfers": True, "num_seeds": 2, "num_users": 2, "mean_candidates": 400,
        "saw": {
            "zero_shot": True, "target_text_seen": True, "target_interactions_used": False,
            "user_overlap": 0.25, "item_overlap": 0.0,
        },
        "curve_sha256": "00ff", "description": "", "backbone_ranks": True, "examples": [],
            "listed": False,
    }  # fmt: skip
    again = read_ranks(tmp_path / "a" / "books_to_games.parquet")
    assert again.seeds.tolist() == [0, 7]
    assert again.users.tolist() == [3, 8]
    assert again.num_higher.tolist() == [[0, 1], [0, 1]]


def test_examples_are_the_first_candidates_of_the_same_users() -> None:
    """The test item counts though it is in the history; the other items of the history do not."""
    holdout = holdout_of([[1, 2], [3, 6], []], [4, 3, 1])
    scores = torch.tensor([[9.0, 8, 1, 5, 5, 2], [0.0, 1, 7, 3, 4, 9], [2.0] * 6])
    found = example_recommendations(table_scorer(scores), holdout)
    assert [(example.user, example.items) for example in found] == [
        (0, (4, 5, 6, 3)), (1, (3, 5, 4, 2, 1)), (2, ()),
    ]  # fmt: skip
    many = holdout_of([[1]] * 50, [2] * 50)
    users = [
        [e.user for e in example_recommendations(lambda rows: torch.rand(len(rows), 9), many)]
        for _ in range(2)
    ]
    assert users[0] == users[1]
    assert len(set(users[0])) == 3


def test_every_row_says_what_it_is() -> None:
    params = read_params(PARAMS)
    config = params.build(BaselinesConfig, "baselines")
    said = {}
    for name in params.section("variants"):
        said[name] = describe_variant(params.build(VariantConfig, f"variants.{name}"))
    for name in ("random", "popularity", "knn_lse_popularity", "knn_mean_raw", "knn_last_centered"):
        said[name] = describe_row(name, config)
    assert len(set(said.values())) == len(said)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in said.values())
    assert "source alone" in said["id"]
    assert "how often items occur" in said["anchored_counts"]
    assert "how often items occur" not in said["anchored"]
    assert "50 sequential patterns" in said["recg"]
    assert "patterns" not in said["wo_sg"]
    assert "inter entropy max" in said["recg_printed"]


def test_overlap_counts_distinct_ids() -> None:
    assert overlap_share(["a", "a", "b", "c", "d"], ["b", "d", "x"]) == 0.5
    assert overlap_share([], ["b"]) == 0.0
