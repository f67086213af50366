"""What a row recommends: the ten items it puts first, and what they are like."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import rs_metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore
from torchmetrics.functional import pairwise_cosine_similarity
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalNormalizedDCG

from recg_core.domains.sequences import Holdout, Ragged
from recg_core.evaluation.certificate import NUM_LISTED
from recg_core.evaluation.lists import Listing
from recg_core.models.ranking import tiles
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.ranking.metrics import ranking_metrics, reciprocal_ranks
from recg_core.models.rows import Scorer
from recg_core.report.beyond import coverage, novelty, popularity, users_who_met


def ragged(rows: list[list[int]]) -> Ragged:
    lengths = [len(row) for row in rows]
    return Ragged(
        np.array([item for row in rows for item in row], dtype=np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def holdout(histories: list[list[int]], targets: list[int]) -> Holdout:
    users = np.arange(len(targets), dtype=np.int32)
    return Holdout(users, ragged(histories), np.array(targets, dtype=np.int32))


def listed(scores: torch.Tensor, held: Holdout, text: np.ndarray, scores_at_once: int = 70) -> Any:
    """The table that is kept while the ranks are counted."""
    listing = Listing(held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SCORES_AT_ONCE", scores_at_once)
        rank_holdout(table_scorer(scores), held, scores.shape[1], watch=listing.watch)
    return listing.table(text)


def table_scorer(scores: torch.Tensor) -> Scorer:
    return Scorer(lambda rows: lambda items: scores[rows][:, items])


def test_lists_are_those_of_a_full_sort_without_the_history() -> None:
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.normal(size=(50, 40)).astype(np.float32))
    histories = [random.integers(1, 41, 5).tolist() for _ in range(50)]
    targets = random.integers(1, 41, 50).tolist()
    text = random.normal(size=(40, 8)).astype(np.float32)
    unit = text / np.linalg.norm(text, axis=1, keepdims=True)

    table = listed(scores, holdout(histories, targets), text)

    for row, items in enumerate(table["items"].to_list()):
        seen = set(histories[row]) - {targets[row]}
        order = [i + 1 for i in np.argsort(-scores[row].numpy()) if i + 1 not in seen]
        assert items == order[:NUM_LISTED]
        cosines = [unit[a - 1] @ unit[b - 1] for a in items for b in items if a < b]
        assert table["diversity"][row] == pytest.approx(1 - np.mean(cosines), abs=1e-6)


def test_lists_are_short_where_few_items_are_left_and_empty_where_all_score_the_same() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5]])
    table = listed(scores, holdout([[2, 1], [3]], [4, 1]), np.eye(4, dtype=np.float32))
    assert table["items"].to_list() == [[3, 4], []]
    assert table["diversity"].to_list() == [1.0, 0.0]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 300))
def test_equal_scores_are_listed_by_item_whatever_the_tiles(
    seed: int, num_items: int, scores_at_once: int
) -> None:
    """Tiles come in another order than items: those of the test items are scored first."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 3, (6, num_items)).astype(np.float32)
    histories = [random.integers(1, num_items + 1, 3).tolist() for _ in scores]
    targets = random.integers(1, num_items + 1, len(scores)).tolist()
    text = np.ones((num_items, 2), dtype=np.float32)
    held = holdout(histories, targets)
    found = listed(torch.from_numpy(scores), held, text, scores_at_once)["items"].to_list()
    for row, seen, target, items in zip(scores, histories, targets, found, strict=True):
        candidates = [i for i in range(1, num_items + 1) if i == target or i not in seen]
        alike = len({row[i - 1] for i in candidates}) == 1
        expected = sorted(candidates, key=lambda i: (-row[i - 1], i))[:NUM_LISTED]
        assert items == ([] if alike else expected)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_reciprocal_rank_is_the_mean_over_places_of_the_ties(higher: int, ties: int) -> None:
    found = reciprocal_ranks(np.array([[higher]]), np.array([[ties]]))
    places = range(higher + 1, higher + ties + 2)
    assert found.item() == pytest.approx(np.mean([1 / place for place in places]))


def test_mrr_hit_rate_and_ndcg_are_those_of_torchmetrics() -> None:
    """Whose hit rate at k is our Recall@k, as each user has one test item."""
    random = np.random.default_rng(2)
    scores = torch.from_numpy(random.permutation(60 * 30).reshape(60, 30).astype(np.float32))
    target = random.integers(1, 31, 60)
    held = holdout([[] for _ in target], target.tolist())
    ranks = rank_holdout(table_scorer(scores), held, 30)
    relevant = torch.arange(1, 31)[None] == torch.from_numpy(target)[:, None]
    of_user = torch.arange(60)[:, None].expand(60, 30)

    ours = ranking_metrics(ranks.num_higher, ranks.num_ties, ranks.num_candidates)
    expected = {
        name: metric(scores.flatten(), relevant.flatten(), indexes=of_user.flatten()).item()
        for name, metric in {
            "mrr": RetrievalMRR(),
            "recall@5": RetrievalHitRate(top_k=5),
            "ndcg@10": RetrievalNormalizedDCG(top_k=10),
        }.items()
    }

    assert reciprocal_ranks(ranks.num_higher, ranks.num_ties).mean() == pytest.approx(
        expected["mrr"]
    )
    for name in ("recall@5", "ndcg@10"):
        assert ours[name].mean() == pytest.approx(expected[name])


def test_measures_of_three_lists_by_hand() -> None:
    """Users 0 to 3 met items 1, 1, 1 and 2; nobody met 3 and 4."""
    met = users_who_met(ragged([[1, 1], [1], [1], [1, 2]]), 4)
    assert met.tolist() == [4, 1, 0, 0]
    lists = [[1, 2], [1, 3], []]

    assert coverage(lists, 4).mean == 0.75
    # Percentiles .875, .625 and, of the two that nobody met, .25.
    assert popularity(lists, met).mean == pytest.approx((0.75 + 0.5625) / 2)
    assert novelty(lists, met, 4).mean == pytest.approx((1 + 1) / 2)


def log_of(histories: list[list[int]]) -> pd.DataFrame:
    """Histories as rs_metrics takes them."""
    return pd.DataFrame(
        [(user, item) for user, items in enumerate(histories) for item in items],
        columns=["user_id", "item_id"],
    )


@pytest.mark.parametrize("seed", range(20))
def test_coverage_and_novelty_are_those_of_rs_metrics(seed: int) -> None:
    """Which leaves out no list: ours are the means over users who were recommended any."""
    random = np.random.default_rng(seed)
    num_items = int(random.integers(20, 200))
    common = 1 + num_items // 2  # the others are met by nobody
    histories = [random.integers(1, common, size).tolist() for size in random.integers(1, 9, 60)]
    lists = [random.permutation(num_items)[:size] + 1 for size in random.integers(1, 11, 40)]
    lists = [items.tolist() for items in lists]
    met = users_who_met(ragged(histories), num_items)
    theirs = dict(enumerate(lists))
    ours = [*lists, []]

    assert coverage(ours, num_items).mean == pytest.approx(
        rs_metrics.coverage(list(range(1, num_items + 1)), theirs), abs=1e-9
    )
    assert novelty(ours, met, len(histories)).mean == pytest.approx(
        rs_metrics.surprisal(log_of(histories), theirs), abs=1e-9
    )
    percentiles = [np.mean([percentileofscore(met, met[i - 1], "mean") for i in x]) for x in lists]
    assert popularity(ours, met).mean == pytest.approx(np.mean(percentiles) / 100, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_popularity_is_that_of_rs_metrics_where_items_are_met_by_one_user_more_each(
    seed: int,
) -> None:
    """Theirs is the share of users who met an item, ours the middle of its percentile."""
    random = np.random.default_rng(seed)
    num_items = 50
    histories = [list(range(user, num_items + 1)) for user in range(1, num_items + 1)]
    lists = [(random.permutation(num_items)[:10] + 1).tolist() for _ in range(30)]
    found = popularity(lists, users_who_met(ragged(histories), num_items)).mean
    theirs = rs_metrics.popularity(log_of(histories), dict(enumerate(lists)))
    assert found == pytest.approx(theirs - 0.5 / num_items, abs=1e-9)


def test_diversity_is_that_of_the_cosines_of_torchmetrics() -> None:
    """To the precision of float32, in which it is kept."""
    random = np.random.default_rng(3)
    scores = torch.from_numpy(random.normal(size=(50, 40)).astype(np.float32))
    text = (random.normal(size=(40, 8)) * random.uniform(0.1, 9, (40, 1))).astype(np.float32)
    table = listed(scores, holdout([[1]] * 50, [2] * 50), text)
    for items, found in zip(table["items"].to_list(), table["diversity"], strict=True):
        vectors = torch.from_numpy(text[np.array(items) - 1].astype(np.float64))
        cosines = pairwise_cosine_similarity(vectors, zero_diagonal=True)
        assert found == pytest.approx(1 - cosines.sum().item() / (10 * 9), abs=1e-6)


def test_coverage_is_as_sure_as_leaving_out_every_user_in_turn_says() -> None:
    random = np.random.default_rng(1)
    lists = [random.choice(60, 4, replace=False) + 1 for _ in range(20)]
    without = np.array(
        [len(set(np.concatenate(lists[:u] + lists[u + 1 :]).tolist())) / 60 for u in range(20)]
    )
    error = np.sqrt(19 / 20 * np.square(without - without.mean()).sum())
    assert coverage(lists, 60).half == pytest.approx(2.0930 * error, rel=1e-4)  # t of 19
