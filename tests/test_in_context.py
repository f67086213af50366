"""The in-context row: what it reads of histories, and that it reads nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.domains.sequences import Ragged
from recg_core.domains.source_domains import SourceDomains
from recg_core.evaluation.training_free import training_free_scorers
from recg_core.models.card import ModelSpec, Origin
from recg_core.models.in_context.context import EVIDENCE, Reader, read_context
from recg_core.models.in_context.ridge import ease, local_ridge
from recg_core.models.in_context.scorer import (
    REACH,
    WORTH_STD,
    InContext,
    evidence_of,
    most_probable_worth,
)
from recg_core.models.in_context.trial import read_domain
from recg_core.models.in_context.visits import before_each, co_visits, strongest
from recg_core.models.near import NearItems, cosine, near_items
from recg_core.models.ranking.full_rank import validation_ndcg
from recg_core.models.recommender import create_model
from recg_core.models.rows import Scorer
from recg_core.models.tensors import seed_path
from recg_core.models.trained import TrainedModel
from recg_core.models.variant import InContextConfig, TextItemsConfig, VariantConfig
from recg_core.training.config import TrainConfig
from recg_core.training.in_context import (
    in_context_weights,
    learn_in_context,
    with_context,
    without_context,
)
from recg_core.training.plan import plan_runs
from recg_core.training.train import train_models
from tests.conftest import alone, cycle_domain, leave_one_out, ragged
from tests.test_baselines import CONFIG, games, real_domain
from tests.test_training import SEM, pool_of, spec

ITEMS = 12


def unit_items(num_items: int = ITEMS, seed: int = 0) -> NearItems:
    text = np.random.default_rng(seed).normal(size=(num_items, 6)).astype(np.float32)
    return near_items(text, None, torch.device("cpu"))


def histories(lengths: list[int], num_items: int = ITEMS, seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    return ragged([rng.integers(1, num_items + 1, n).tolist() for n in lengths])


def random_weights(seed: int = 0) -> InContext:
    torch.manual_seed(seed)
    model = InContext()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_co_visits_count_later_items_by_their_distance_and_earlier_ones_for_less() -> None:
    found = co_visits(ragged([[1, 2, 3], [2, 1]]), 3, window=2, decay=0.5, backward=0.1)
    # 1 -> 2 and 2 -> 1 once each, at distance 1; 1 -> 3 at distance 2.
    expected = [[0, 1 + 0.1, 0.5], [1 + 0.1, 0, 1], [0.5 * 0.1, 0.1, 0]]
    np.testing.assert_allclose(found.toarray(), expected)


def test_histories_do_not_run_into_each_other() -> None:
    apart = co_visits(ragged([[1], [2], [], [3]]), 3, window=5, decay=0.5, backward=1.0)
    assert apart.nnz == 0


def test_what_came_before_an_event_is_weighted_by_its_distance() -> None:
    found = before_each(ragged([[1, 2, 3], [3]]), 3, window=2, decay=0.5)
    np.testing.assert_allclose(found.toarray(), [[0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0, 0, 0]])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 4))
def test_the_strongest_of_a_row_are_its_largest(lengths: list[int], k: int) -> None:
    rng = np.random.default_rng(sum(lengths))
    dense = np.zeros((len(lengths), 7))
    for row, length in enumerate(lengths):
        dense[row, rng.permutation(7)[:length]] = rng.permutation(7)[:length] + 1
    found = strongest(sp.csr_matrix(dense), k).toarray()
    for row, kept in zip(dense, found, strict=True):
        largest = np.sort(row)[::-1][:k]
        assert sorted(kept[kept > 0]) == sorted(largest[largest > 0])


def test_a_ridge_on_all_other_items_is_ease() -> None:
    """EASE in closed form: B = -P / diag(P), P = (X'X + strength)^-1, the diagonal 0."""
    rng = np.random.default_rng(0)
    met = sp.csr_matrix((rng.random((40, 7)) < 0.5).astype(float))
    gram = (met.T @ met).tocsr()
    inverse = np.linalg.inv(gram.toarray() + 3.0 * np.eye(7))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = local_ridge(gram, gram, strength=3.0, predictors=6)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-5)


def test_items_that_nobody_met_change_no_weight_of_ease() -> None:
    met = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=float)
    gram = met.T @ met
    inverse = np.linalg.inv(gram + 2.0 * np.eye(4))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(ease(sp.csr_matrix(gram), 2.0), expected, atol=1e-6)


def test_a_ridge_on_few_predictors_solves_their_equations_alone() -> None:
    rng = np.random.default_rng(1)
    past = sp.csr_matrix(rng.random((60, 20)) * (rng.random((60, 20)) < 0.3))
    event = sp.csr_matrix((rng.random((60, 20)) < 0.2).astype(float))
    gram, cross = (past.T @ past).tocsr(), (past.T @ event).tocsr()
    found = local_ridge(gram, cross, strength=2.0, predictors=4).toarray()
    for outcome in range(20):
        others = cross.toarray()[:, outcome].copy()
        others[outcome] = 0
        chosen = np.sort(np.argsort(-others)[:4])
        chosen = chosen[others[chosen] > 0]
        system = gram.toarray()[np.ix_(chosen, chosen)] + 2.0 * np.eye(len(chosen))
        expected = np.zeros(20)
        expected[chosen] = np.linalg.solve(system, others[chosen])
        np.testing.assert_allclose(found[:, outcome], expected, rtol=1e-4, atol=1e-6)


def test_the_scores_of_all_items_are_those_of_their_evidence() -> None:
    context = read_context(unit_items(), histories([5, 1, 8, 0, 3]))
    history = histories([1, 4, 7], seed=1)
    model, rows = random_weights(), np.arange(3)
    reader = Reader(context, history)
    everyone = torch.arange(ITEMS).expand(3, -1)
    evidence_BNE = evidence_of(reader, rows, everyone)
    assert evidence_BNE.shape == (3, ITEMS, len(EVIDENCE))
    slow = model(evidence_BNE, reader.properties(rows))
    score = model.scorer(context, history)
    torch.testing.assert_close(score(rows), slow.detach())
    torch.testing.assert_close(score(rows, slice(3, 9)), slow[:, 3:9].detach())
    some = np.array([7, 0, 11])
    torch.testing.assert_close(score(rows, some), slow[:, some].detach())


def test_it_sees_no_identity_of_items() -> None:
    """Numbering the items anew numbers the scores anew."""
    order = np.random.default_rng(3).permutation(ITEMS)
    place = np.argsort(order) + 1
    items, observed, history = unit_items(), histories([5, 9, 3]), histories([4, 2], seed=1)
    renumbered = [
        Ragged(place[h.values - 1].astype(np.int32), h.offsets) for h in (observed, history)
    ]
    model, rows = random_weights(), np.arange(2)
    text = cosine(items, np.arange(ITEMS)).numpy()  # any vectors with the same products would do
    vectors = np.linalg.cholesky(text.astype(np.float64) + 1e-6 * np.eye(ITEMS)).astype(np.float32)
    same = near_items(vectors, np.zeros(ITEMS, dtype=np.float32), torch.device("cpu"))
    other = near_items(vectors[order], np.zeros(ITEMS, dtype=np.float32), torch.device("cpu"))
    before = model.scorer(read_context(same, observed), history)(rows)
    after = model.scorer(read_context(other, renumbered[0]), renumbered[1])(rows)
    torch.testing.assert_close(after, before[:, order], rtol=1e-3, atol=1e-3)


def test_without_observed_histories_texts_alone_rank() -> None:
    items, history = unit_items(), histories([3, 1], seed=2)
    context = read_context(items, ragged([[], []]))
    model, rows = random_weights(), np.arange(2)
    reader = Reader(context, history)
    evidence_BNE = evidence_of(reader, rows, torch.arange(ITEMS).expand(2, -1))
    text = [EVIDENCE.index(name) for name in ("text", "latest_text")]
    others = [column for column in range(len(EVIDENCE)) if column not in text]
    assert (evidence_BNE[:, :, others] == 0).all()
    assert torch.isfinite(model.scorer(context, history)(rows)).all()


def test_what_lies_beyond_the_source_is_taken_for_its_outermost() -> None:
    model = random_weights()
    with torch.no_grad():
        model.least.fill_(-1.0)
        model.most.fill_(2.0)
    far, near = (
        torch.tensor([[-9.0, 5.0, 5.0, -9.0, 5.0]]),
        torch.tensor([[-1.0, 2.0, 2.0, -1.0, 2.0]]),
    )
    assert torch.equal(model.weights(far), model.weights(near))
    assert not torch.equal(model.weights(near), model.weights(0.5 * near))


def test_more_visits_together_raise_an_item() -> None:
    items, history = unit_items(), ragged([[1]])
    model, rows = InContext(), np.zeros(1, dtype=np.int64)
    with torch.no_grad():
        model.weight.fill_(0.5)
    others = [[3, 4], [5, 6], [7, 8], [2, 9]]
    before = model.scorer(read_context(items, ragged([*others, [1], [2]])), history)(rows)
    after = model.scorer(read_context(items, ragged([*others, [1, 2]])), history)(rows)
    rest = torch.arange(ITEMS) != 1
    assert after[0, 1] - before[0, 1] > (after - before)[0, rest].max()


def trial_of(rows: list[list[float]], times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Users that all have the same two kinds of evidence about the item that came next and one
    other."""
    evidence_BME = torch.tensor([rows]).expand(times, -1, -1)
    return evidence_BME, torch.zeros(evidence_BME.shape[:2])


def test_the_worth_of_evidence_is_the_most_probable_one() -> None:
    """Against a plain minimiser, users near to and far from their next item among them."""
    random = torch.Generator().manual_seed(4)
    evidence_BME = torch.randn(50, 9, 3, generator=random)
    evidence_BME[:25, 0] += 1.0
    log_weight_BM = torch.randn(50, 9, generator=random)
    found = most_probable_worth(evidence_BME, log_weight_BM)
    start = (evidence_BME.sum(dim=2) + log_weight_BM).softmax(dim=1)[:, 0] ** REACH
    worth = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([worth], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        log_share_B = (evidence_BME @ worth + log_weight_BM).log_softmax(dim=1)[:, 0]
        total = -(start / start.mean() * log_share_B).sum()
        total = total + (worth - 1).square().sum() / (2 * WORTH_STD**2)
        total.backward()
        return total

    optimizer.step(loss)
    torch.testing.assert_close(found, worth.detach(), rtol=1e-3, atol=1e-3)


def test_evidence_is_worth_more_where_it_is_right_and_less_where_it_is_wrong() -> None:
    right_and_wrong = [[1.0, 0.0], [0.0, 1.0]]
    few = most_probable_worth(*trial_of(right_and_wrong, 1))
    many = most_probable_worth(*trial_of(right_and_wrong, 100))
    assert 1.0 < few[0] < 1.6
    assert many[0] > few[0]
    torch.testing.assert_close(few[0] - 1, 1 - few[1])
    says_nothing = most_probable_worth(*trial_of([[1.0, 1.0], [1.0, 1.0]], 100))
    torch.testing.assert_close(says_nothing, torch.ones(2))


def test_sequences_are_worth_less_where_histories_are_shuffled() -> None:
    """In cycles the order tells all; shuffled, the regression on sequences says no more than the
    one on sets."""
    domain = cycle_domain("target", num_users=200)
    items = near_items(domain.text, None, torch.device("cpu"))
    observed = domain.sequences.observed("test")
    random = np.random.default_rng(0)
    rows = [observed.take(np.array([row])).values for row in range(len(observed))]
    shuffled = ragged([random.permutation(row).tolist() for row in rows])
    model = InContext()
    with torch.no_grad():
        model.weight.fill_(0.3)
    worth = [
        model.fitted(read_domain(items, found, users=150)).worth for found in (observed, shuffled)
    ]
    kinds = [EVIDENCE.index("sequence_ridge"), EVIDENCE.index("set_ridge")]
    ordered, mixed = (torch.as_tensor(found)[kinds] for found in worth)
    assert ordered[0] - ordered[1] > 0.2 + mixed[0] - mixed[1]


def test_scores_are_those_of_the_worth_of_evidence() -> None:
    items, history = unit_items(), histories([4, 2])
    context = read_domain(items, histories([5, 4, 8, 0, 3]), users=4)
    model, rows = random_weights(), np.arange(2)
    fitted = model.fitted(context)
    assert fitted.trial is None
    assert model.fitted(fitted) is fitted
    reader = Reader(context, history)
    evidence_BNE = evidence_of(reader, rows, torch.arange(ITEMS).expand(2, -1))
    expected = torch.einsum(
        "bne,be->bn", evidence_BNE, model.weights(reader.properties(rows)) * fitted.worth
    )
    for known in (context, fitted, fitted.with_items(unit_items())):
        torch.testing.assert_close(model.scorer(known, history)(rows), expected.detach())


def test_a_trial_asks_for_what_came_last_and_has_not_seen_it() -> None:
    items, observed = unit_items(), histories([5, 4, 8, 1, 0, 3])
    last = observed.offsets[1:][observed.lengths >= 2] - 1
    changed = Ragged(observed.values.copy(), observed.offsets)
    changed.values[last] = changed.values[last] % ITEMS + 1
    trial, other = (
        read_domain(items, found, users=len(last)).trial for found in (observed, changed)
    )
    assert trial is not None
    assert other is not None
    assert len(trial.log_weight_BM) == len(last)
    torch.testing.assert_close(trial.properties_BG, other.properties_BG)
    assert read_domain(items, observed, users=len(last) + 1).trial is None


def test_only_a_split_that_leaves_one_out_asks_for_last_items() -> None:
    rows = [[1, 2, 3, 4], [2, 3, 5], [4, 1]]
    whole = leave_one_out(rows)
    assert whole.leaves_one_out
    # By time the second user has nothing in the validation period.
    by_time = dataclasses.replace(whole, valid_position=np.array([2, -1, -1], np.int32))
    assert not by_time.leaves_one_out
    # Nor is there an item left out where all users are for training.
    assert not leave_one_out([[1, 2], [3, 4]]).leaves_one_out


def test_what_is_learned_is_the_same_twice_and_knows_no_held_out_item() -> None:
    source = cycle_domain("source", num_users=60)
    changed = cycle_domain("source", num_users=60)
    held_out = changed.sequences.valid_position >= 0
    starts = changed.sequences.items.offsets[:-1][held_out]
    for position in (changed.sequences.valid_position, changed.sequences.test_position):
        changed.sequences.items.values[starts + position[held_out]] = 1
    weights = []
    for domain in (source, source, changed):
        model = InContext()
        learn_in_context(model, alone(domain), users=30, seed=5)
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    for again in weights[1:]:
        for one, other in zip(weights[0], again, strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(weights[0][0], InContext().weight)


def test_what_is_learned_finds_the_next_item_of_another_domain() -> None:
    """In cycles, the next item follows from visits alone: texts say nothing of it."""
    model = InContext()
    learn_in_context(model, alone(cycle_domain("source", num_users=200)), users=150, seed=0)
    target = cycle_domain("target", num_users=150, seed=9)
    holdout = target.sequences.holdout("test")
    context = read_context(
        near_items(target.text, None, torch.device("cpu")), target.sequences.observed("test")
    )
    scores = model.scorer(context, holdout.history)(np.arange(len(holdout.users)))
    scores[torch.arange(len(scores)).repeat_interleave(torch.from_numpy(holdout.history.lengths)),
           torch.from_numpy(holdout.history.values).long() - 1] = -torch.inf  # fmt: skip
    found = scores.argmax(dim=1).numpy() + 1
    assert (found == holdout.target).mean() > 0.9


def test_what_the_model_counts_in_its_source_is_the_best_on_held_out_items() -> None:
    source = cycle_domain("source", num_users=60)
    variant = VariantConfig(
        TextItemsConfig("text"), {"kind": "bpr"}, score="cosine", in_context=InContextConfig(20)
    )
    sizes = {"dim": 8, "num_layers": 1, "num_heads": 1, "dropout": 0.0, "max_length": 10}
    of = ModelSpec("sasrec", sizes, variant, source.text.shape[1])
    config = TrainConfig(32, 0.001, 1, 1, 8, 4, 1000, 1)
    torch.manual_seed(0)
    without = create_model(without_context(of)).eval()
    weights = in_context_weights(alone(source), users=20, seed=0)
    whole, ndcg = with_context(without, of, alone(source), config, 0, weights)
    trained = TrainedModel(whole, Origin(of, "source", source.encoder_fingerprint), "source")
    holdout, observed = source.sequences.holdout("valid"), source.sequences.observed("valid")
    row = torch.arange(len(holdout.users))
    seen = row.repeat_interleave(torch.from_numpy(holdout.history.lengths))
    target = torch.from_numpy(holdout.target.astype(np.int64)) - 1

    def loss(weight: float) -> float:
        assert whole.in_context is not None
        whole.in_context.state_weight.data.fill_(weight)
        scores = trained.scorer(source, holdout.history, observed)(row.numpy())
        scores[seen, torch.from_numpy(holdout.history.values).long() - 1] = -torch.inf
        return float(torch.nn.functional.cross_entropy(scores, target))

    assert whole.in_context is not None
    learned = float(whole.in_context.state_weight.detach())
    scorer = trained.scorer(source, holdout.history, observed)
    assert ndcg == validation_ndcg(scorer, holdout, source.num_items)
    best = loss(learned)
    assert all(best <= loss(max(learned + step, 0.0)) + 1e-6 for step in (-0.2, -0.02, 0.02, 0.2))


def test_backbones_of_a_source_learn_the_weights_once_and_have_the_bytes_of_each_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cycle_domain("source", num_users=60)
    reads = dataclasses.replace(SEM, score="cosine", in_context=InContextConfig(20))
    config, names = TrainConfig(32, 0.001, 1, 1, 8, 4, 1000, 1), ("gru4rec", "sasrec")
    learned: list[int] = []

    def counted(model: InContext, source: SourceDomains, users: int, seed: int) -> None:
        learned.append(seed)
        learn_in_context(model, source, users, seed)

    def weights(of: tuple[str, ...], folder: Path) -> dict[str, bytes]:
        models = [spec(name, source, reads) for name in of]
        work = folder / "work"
        plan = plan_runs(alone(source), pool_of(), models, config, (3, 4), work=work, device="cpu")
        train_models(plan, folder)
        return {name: seed_path(folder / name, 4).read_bytes() for name in of}

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr("recg_core.training.in_context.learn_in_context", counted)
    together = weights(names, tmp_path / "together")
    assert learned == [3, 4]
    for name in names:
        assert weights((name,), tmp_path / name) == {name: together[name]}


@pytest.mark.real
def test_on_real_histories_it_beats_its_parts_and_is_near_what_is_fitted_there() -> None:
    """Weights learned on one domain, in another; NDCG@10 in the full catalogue.

    The target is the one of three where EASE with all histories is level.
    """
    data = Path(__file__).parents[2] / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the real data are not on this machine")
    source = games(*real_domain(data, "Industrial_and_Scientific"))
    target = games(*real_domain(data, "Musical_Instruments"))
    model = InContext()
    learn_in_context(model, alone(source), users=1000, seed=0)
    holdout = target.sequences.holdout("test").sample(4000)

    def ndcg(scorer: Scorer) -> float:
        return validation_ndcg(scorer, holdout, target.num_items)

    def in_context(observed: Ragged) -> float:
        items = near_items(target.text, None, torch.device("cpu"))
        return ndcg(model.scorer(read_domain(items, observed), holdout.history))

    observed = target.sequences.observed("test")
    free = {
        name: ndcg(scorer)
        for name, scorer in training_free_scorers(target, holdout.history, observed, CONFIG)
    }
    nothing = observed.take(np.arange(0))
    assert in_context(nothing) > 0.97 * free["knn_lse_centered"]
    whole = in_context(observed)
    assert whole > 1.3 * free["knn_lse_popularity"]
    assert whole > max(value for name, value in free.items() if name != "ease")
    assert whole > 0.97 * free["ease"]
