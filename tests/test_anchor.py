"""The similarity anchor against plain loops, and what it may and may not depend on."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recg_core.base.files import read_json
from recg_core.base.schema import RANKS
from recg_core.domains.domain import Domain
from recg_core.evaluation.training_free import BaselinesConfig, training_free_scorers
from recg_core.models.anchor import (
    Anchor,
    AnchorInputs,
    LogCounts,
    observed_counts,
    training_scores,
)
from recg_core.models.card import read_card
from recg_core.models.near import anchor_items
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.tensors import save_tensors, seed_path
from recg_core.models.trained import load_recommender
from recg_core.models.variant import VariantConfig
from tests.conftest import cycle_domain, leave_one_out, ragged
from tests.test_cells import ANCHORED, COUNTED, evaluated, trained

SEQUENCES = [[3, 1, 5, 2], [4, 6, 4], [2, 5]]


@pytest.fixture
def anchor() -> Anchor:
    """Parameters unlike the initial ones, with ages beyond the table."""
    anchor = Anchor(max_age=2, counts=True)
    with torch.no_grad():
        anchor.log_scale.fill_(0.2)
        anchor.log_sharpness.fill_(math.log(3.0))
        anchor.log_weight.copy_(torch.tensor([0.3, -0.7]))
        anchor.count_weight.copy_(torch.tensor([0.6, 0.3]))  # type: ignore[union-attr]
        anchor.affinity.fill_(0.5)  # type: ignore[union-attr]
    return anchor


@pytest.fixture
def items() -> Tensor:
    rng = np.random.default_rng(0)
    return anchor_items(torch.from_numpy(rng.standard_normal((6, 4)).astype(np.float32)))


def plain_score(
    history: list[int], item: int, items: Tensor, counts: list[list[float]], average: float
) -> float:
    """The score of `item` by the formula of `Anchor` with the fixture's parameters."""
    weights = [math.exp(0.3), math.exp(-0.7)]
    total = sum(
        weights[min(age, 1)] * math.exp(3 * (float(items[i - 1] @ items[item - 1]) - 1))
        for age, i in enumerate(reversed(history))
    )
    excess = sum(math.log1p(counts[i - 1][0]) - average for i in history) / len(history)
    prior = 0.6 * math.log1p(counts[item - 1][0]) + 0.3 * math.log1p(counts[item - 1][1])
    return math.exp(0.2) * math.log(total) + prior * math.exp(0.5 * excess)


def plain_counts(histories: list[list[int]]) -> tuple[list[list[float]], float]:
    """Counts of six items, all and among the last two, and the average log count."""
    values = [i for history in histories for i in history]
    latest = [i for history in histories for i in history[-2:]]
    counts = [[float(values.count(i)), float(latest.count(i))] for i in range(1, 7)]
    return counts, sum(math.log1p(values.count(i)) for i in values) / len(values)


def test_scores_of_a_history_equal_a_plain_loop(anchor: Anchor, items: Tensor) -> None:
    counts, average = plain_counts(SEQUENCES)
    scorer = anchor.scorer(ragged(SEQUENCES), items, LogCounts.of(torch.tensor(counts)))
    found = scorer(np.arange(3))
    expected = [
        [plain_score(history, item, items, counts, average) for item in range(1, 7)]
        for history in SEQUENCES
    ]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_observed_counts_by_hand() -> None:
    assert observed_counts(ragged(SEQUENCES), 6).T.tolist() == [
        [1, 2, 1, 2, 2, 1],
        [0, 2, 0, 1, 2, 1],
    ]


def test_the_last_position_of_training_asks_the_question_of_inference(
    anchor: Anchor, items: Tensor
) -> None:
    """A sequence's last item is not counted, so training and inference see the same counts."""
    histories = [row[:-1] for row in SEQUENCES]
    counts, _ = plain_counts(histories)
    inputs = AnchorInputs.of(items, torch.tensor(counts))
    padded = torch.tensor([row + [0] * (4 - len(row)) for row in SEQUENCES])
    last = torch.tensor(
        [[length - 1 == place for place in range(4)] for length in map(len, SEQUENCES)]
    )
    own, others = (
        scores[last] for scores in training_scores(anchor, inputs, padded, torch.tensor([1, 6]))
    )
    scorer = anchor.scorer(ragged(histories), items, LogCounts.of(torch.tensor(counts)))
    expected = scorer(np.arange(3))
    targets = torch.tensor([row[-1] for row in SEQUENCES])
    torch.testing.assert_close(own, expected[torch.arange(3), targets - 1])
    torch.testing.assert_close(others, expected[:, [0, 5]])


def test_an_earlier_item_is_not_counted_in_its_own_prediction(
    anchor: Anchor, items: Tensor
) -> None:
    histories = [row[:-1] for row in SEQUENCES]
    counts, average = plain_counts(histories)
    inputs = AnchorInputs.of(items, torch.tensor(counts))
    sequence = torch.tensor([SEQUENCES[0]])
    own, _ = training_scores(anchor, inputs, sequence, torch.tensor([1]))
    third = own[0, 2]  # item 5, of the two latest counted
    without = [list(pair) for pair in counts]
    assert without[4] == [1, 1]
    without[4] = [0.0, 0.0]
    assert third.item() == pytest.approx(plain_score([3, 1], 5, items, without, average), abs=1e-5)


def test_a_position_sees_earlier_items_alone(anchor: Anchor, items: Tensor) -> None:
    counts = torch.tensor(plain_counts(SEQUENCES)[0])
    inputs = AnchorInputs.of(items, counts)
    negatives = torch.tensor([2, 4])
    _, before = training_scores(anchor, inputs, torch.tensor([[3, 1, 5, 2]]), negatives)
    _, after = training_scores(anchor, inputs, torch.tensor([[3, 6, 4, 1]]), negatives)
    assert torch.equal(before[:, 1], after[:, 1])
    assert not torch.equal(before[:, 2], after[:, 2])


def test_untrained_it_ranks_like_the_training_free_row() -> None:
    rng = np.random.default_rng(1)
    rows = [(rng.permutation(30)[: rng.integers(3, 12)] + 1).tolist() for _ in range(25)]
    text = rng.standard_normal((30, 6)).astype(np.float32) + 1
    sequences = leave_one_out(rows)
    holdout = sequences.holdout("test")
    anchor = Anchor(max_age=50, counts=False)
    scorer = anchor.scorer(
        holdout.history, anchor_items(torch.from_numpy(text)), LogCounts.of(torch.zeros(30, 2))
    )
    found = rank_holdout(scorer, holdout, 30)
    config = BaselinesConfig(decay=0.85, sharpness=8.0, popularity=0.1, ease=50.0)
    domain = Domain("t", sequences, [str(i) for i in range(30)], text, "encoder")
    rows = training_free_scorers(domain, holdout.history, holdout.history, config)
    expected = rank_holdout(dict(rows)["knn_lse_centered"], holdout, 30)
    assert found.num_higher.tolist() == expected.num_higher.tolist()


def other_target(num_users: int = 30) -> Domain:
    """The first of thirty users of another domain."""
    domain = cycle_domain("target", num_users=30, num_items=40, seed=3)
    items = domain.sequences.items
    rows = [items.take(np.array([user])).values.tolist() for user in range(num_users)]
    return dataclasses.replace(domain, sequences=leave_one_out(rows))


def ranks_of(folder: Path, source: Domain) -> dict[str, bytes]:
    """The ranks files of the source and of another target, as bytes."""
    evaluated(folder, source, [source, other_target()])
    paths = (folder / "ranks").glob("*.parquet")
    return {path.stem.removeprefix("source_to_"): path.read_bytes() for path in paths}


def test_in_another_domain_nothing_but_the_anchor_counts(tmp_path: Path) -> None:
    source = cycle_domain("source", num_users=60)
    folder = trained(tmp_path, source, ANCHORED)
    before = ranks_of(folder, source)
    model = load_recommender(read_card(folder / "model").spec, folder / "model", 0)
    with torch.no_grad():
        for parameter in [*model.items.parameters(), *model.backbone.parameters()]:
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    save_tensors(model.state_dict(), seed_path(folder / "model", 0))
    after = ranks_of(folder, source)
    assert after["target"] == before["target"]
    assert after["source"] != before["source"]


@pytest.mark.parametrize(("variant", "depends"), [(ANCHORED, False), (COUNTED, True)])
def test_only_counts_make_ranks_depend_on_the_targets_other_users(
    variant: VariantConfig, depends: bool, tmp_path: Path
) -> None:
    source = cycle_domain("source", num_users=60)
    folder = trained(tmp_path, source, variant)
    ranks = []
    for num_users in (30, 10):
        cell = evaluated(folder, source, [other_target(num_users)])["source_to_target.json"]
        frame = RANKS.read(folder / "ranks" / "source_to_target.parquet")
        ranks.append(frame.head(10).drop("user_idx").rows())
        assert cell["saw"]["zero_shot"] is not depends
        assert cell["saw"]["target_interactions_used"] is depends
        assert cell["saw"]["target_text_seen"]
    assert (ranks[0] != ranks[1]) == depends


def test_training_moves_the_anchor_and_keeps_it_in_the_files(tmp_path: Path) -> None:
    folder = trained(tmp_path, cycle_domain("source", num_users=60), COUNTED) / "model"
    model = load_recommender(read_card(folder).spec, folder, 0)
    start = Anchor(max_age=12, counts=True)
    assert model.anchor is not None
    for name, parameter in model.anchor.named_parameters():
        assert not torch.equal(parameter, start.get_parameter(name)), name
    assert read_json(folder / "model.json")["spec"]["variant"]["anchor"] == {"counts": True}
