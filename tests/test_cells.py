"""Cells of a trained model: what they saw, what they refuse, and what they hold."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import read_json, read_sealed_json, write_sealed_json
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains
from recg_core.evaluation.cells import evaluate_model
from recg_core.models.ranking.ranks import read_ranks
from recg_core.models.trained import load_trained
from recg_core.models.variant import AnchorConfig, IdItemsConfig, PatternsConfig, VariantConfig
from recg_core.training.cluster import cluster_model
from recg_core.training.config import FusionConfig
from tests.conftest import alone, cycle_domain, leave_one_out
from tests.test_training import CENTERED, RECG, SEM, SHORT, pool_of, spec, train

ONE_EPOCH = dataclasses.replace(SHORT, max_epochs=1)
PATTERNS = FusionConfig(batch_size=64, learning_rate=0.01, max_epochs=1, patience=1, negatives=16)
CLUSTERED = dataclasses.replace(SEM, patterns=PatternsConfig(clusters=3))
IDS = dataclasses.replace(SEM, items=IdItemsConfig("id"))
ANCHORED = dataclasses.replace(SEM, score="cosine", anchor=AnchorConfig(counts=False))
COUNTED = dataclasses.replace(ANCHORED, anchor=AnchorConfig(counts=True))
VARIANTS = {
    "id": IDS, "sem": SEM, "clustered": CLUSTERED, "anchored": ANCHORED, "counted": COUNTED,
    "centered": dataclasses.replace(CLUSTERED, items=CENTERED, user="residual", score="cosine"),
}  # fmt: skip


def trained(
    folder: Path, source: Domain, variant: VariantConfig = SEM, seeds: Sequence[int] = (0,)
) -> Path:
    """Train GRU4Rec for an epoch and cluster its users; the project folder."""
    retrain(folder, source, variant, seeds)
    clustered(folder, source, PATTERNS)
    return folder


def retrain(
    folder: Path,
    source: Domain,
    variant: VariantConfig,
    seeds: Sequence[int] = (0,),
    **changes: Any,
) -> None:
    """Train GRU4Rec for an epoch, with changed arguments."""
    model = spec("gru4rec", source, variant)
    model = dataclasses.replace(model, backbone_args={**model.backbone_args, **changes})
    pool = pool_of("north", "south")
    made = train(source, pool, model, ONE_EPOCH, seeds, folder / "trained")
    shutil.rmtree(folder / "model", ignore_errors=True)
    made.rename(folder / "model")


def clustered(folder: Path, source: Domain, config: FusionConfig) -> None:
    """Cluster the users of the model in `folder`."""
    cluster_model(
        folder / "model",
        lambda: alone(source),
        config,
        folder / "patterns",
        folder / "validation.json",
    )


def evaluated(folder: Path, source: Domain, targets: Sequence[Domain]) -> dict[str, Any]:
    """Evaluate what `trained` left in `folder`; the certificates by file name."""
    evaluate_model(
        folder / "model",
        folder / "patterns",
        alone(source),
        targets,
        folder / "ranks",
        {},
        variant="sem",
    )
    return {
        path.name: read_sealed_json(path, "") for path in sorted((folder / "ranks").glob("*.json"))
    }


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds one after the other: starting a process for each would take longer than they do."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)


@pytest.fixture
def source() -> Domain:
    return cycle_domain("source", num_users=60)


def overlapping_target() -> Domain:
    """Four items, one of them the source's; five users, one too short to be tested.

    Of the four who are tested, u0 and u2 shop in the source too; u4 does not count.
    """
    domain = cycle_domain("target", num_users=5, num_items=4)
    sequences = leave_one_out([[1, 2, 3], [2, 3, 4], [1, 3, 4], [4, 1, 2], [1]])
    return dataclasses.replace(
        domain,
        sequences=dataclasses.replace(sequences, user_ids=["u0", "x1", "u2", "x3", "u4"]),
        item_ids=["target-1", "source-7", "target-3", "target-4"],
    )


def test_the_cell_of_the_source_says_that_it_is_in_domain(source: Domain, tmp_path: Path) -> None:
    cells = evaluated(trained(tmp_path, source), source, [source])
    assert list(cells) == ["source_to_source.json"]
    assert cells["source_to_source.json"]["saw"] == {
        "zero_shot": False,
        "target_text_seen": True,
        "target_interactions_used": True,
        "user_overlap": 1.0,
        "item_overlap": 1.0,
    }


def test_the_cell_of_a_target_counts_what_it_shares_with_the_source(
    source: Domain, tmp_path: Path
) -> None:
    cells = evaluated(trained(tmp_path, source), source, [source, overlapping_target()])
    cell = cells["source_to_target.json"]
    assert cell["saw"] == {
        "zero_shot": True,
        "target_text_seen": False,
        "target_interactions_used": False,
        "user_overlap": 2 / 4,
        "item_overlap": 1 / 4,
    }
    # Each of the four has two distinct items in the history, so two of four are candidates.
    assert (cell["num_users"], cell["mean_candidates"], cell["num_seeds"]) == (4, 2.0, 1)
    assert (cell["backbone"], cell["variant"]) == ("gru4rec", "sem")
    assert (cell["source"], cell["target"], cell["transfers"]) == ("source", "target", True)
    # Both are within the first two, whatever the model says.
    ranks = read_ranks(tmp_path / "ranks" / "source_to_target.parquet")
    assert ranks.num_higher.max() < 2


@pytest.mark.parametrize(("variant", "seen"), [(SEM, False), (RECG, True)])
def test_target_text_counts_as_seen_when_the_loss_sampled_it(
    variant: VariantConfig, seen: bool, source: Domain, tmp_path: Path
) -> None:
    """The pool holds north for every variant, but only recg's loss looks at it."""
    targets = [cycle_domain("north", num_users=20), cycle_domain("west", num_users=20)]
    cells = evaluated(trained(tmp_path, source, variant), source, targets)
    assert cells["source_to_north.json"]["saw"]["target_text_seen"] is seen
    assert cells["source_to_west.json"]["saw"]["target_text_seen"] is False


def test_target_text_counts_as_seen_when_the_encoder_was_fitted_on_it(
    source: Domain, tmp_path: Path
) -> None:
    fitted = dataclasses.replace(source, encoder_domains=("source", "west"))
    targets = [cycle_domain("north", num_users=20), cycle_domain("west", num_users=20)]
    cells = evaluated(trained(tmp_path, fitted), fitted, targets)
    assert cells["source_to_north.json"]["saw"]["target_text_seen"] is False
    assert cells["source_to_west.json"]["saw"]["target_text_seen"] is True


@pytest.mark.parametrize(("variant", "ranks"), [(SEM, True), (ANCHORED, False)])
def test_a_cell_says_whether_a_backbone_ranks_elsewhere(
    variant: VariantConfig, ranks: bool, source: Domain, tmp_path: Path
) -> None:
    cells = evaluated(trained(tmp_path, source, variant), source, [overlapping_target()])
    assert cells["source_to_target.json"]["backbone_ranks"] is ranks


def test_a_model_of_item_ids_is_evaluated_on_its_source_alone(
    source: Domain, tmp_path: Path
) -> None:
    cells = evaluated(trained(tmp_path, source, IDS), source, [source, cycle_domain("target")])
    assert list(cells) == ["source_to_source.json"]
    assert [path.name for path in (tmp_path / "ranks").glob("*.parquet")] == [
        "source_to_source.parquet"
    ]
    assert cells["source_to_source.json"]["transfers"] is False


def test_a_cell_holds_the_ranks_of_every_seed(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, seeds=(4, 9))
    cell = evaluated(folder, source, [source])["source_to_source.json"]
    ranks = read_ranks(folder / "ranks" / "source_to_source.parquet")
    assert ranks.seeds.tolist() == [4, 9]
    assert cell["num_seeds"] == 2
    assert (ranks.num_higher[:, 0] != ranks.num_higher[:, 1]).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_library_gives_the_scores_that_evaluation_ranks(
    variant: str, source: Domain, tmp_path: Path
) -> None:
    """README's recipe: load, score the users of a target, and find the stored ranks."""
    folder = trained(tmp_path, source, VARIANTS[variant])
    targets = [source] if variant == "id" else [source, cycle_domain("target", num_items=40)]
    evaluated(folder, source, targets)
    model = load_trained(folder / "model", folder / "patterns", seed=0)
    for target in targets:
        holdout = target.sequences.holdout("test")
        score = model.scorer(target, holdout.history, target.sequences.observed("test"))
        scores = score(np.arange(len(holdout.users)))
        assert not scores.requires_grad
        stored = read_ranks(folder / "ranks" / f"source_to_{target.name}.parquet")
        for row, item in enumerate(holdout.target):
            seen = set(holdout.history.take(np.array([row])).values.tolist()) - {int(item)}
            others = [j for j in range(target.num_items) if j + 1 not in seen]
            own = scores[row, item - 1]
            assert (scores[row, others] > own).sum() == stored.num_higher[row, 0]


def test_a_model_of_item_ids_refuses_another_domain(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, IDS)
    model = load_trained(folder / "model", folder / "patterns", seed=0)
    target = cycle_domain("target")
    history = target.sequences.holdout("test").history
    with pytest.raises(UserError, match="knows the items of source alone, not those of target"):
        model.scorer(target, history, history)


def test_the_library_refuses_vectors_of_another_encoder(source: Domain, tmp_path: Path) -> None:
    """Of the same width too: its scores would be wrong without an error."""
    folder = trained(tmp_path, source)
    model = load_trained(folder / "model", folder / "patterns", seed=0)
    target = dataclasses.replace(cycle_domain("target"), encoder_fingerprint="another")
    history = target.sequences.holdout("test").history
    with pytest.raises(UserError, match="embeddings of another encoder than those of target"):
        model.scorer(target, history, history)


def test_every_model_is_on_the_device_that_it_is_told(source: Domain, tmp_path: Path) -> None:
    """Nothing forces the CPU: on torch's device without memory every step asks for that device."""
    folder = trained(tmp_path, source, CLUSTERED)
    model = load_trained(folder / "model", folder / "patterns", seed=0, device="meta")
    assert model.recommender.device.type == "meta"
    assert model.patterns is not None
    assert model.patterns.fusion.device.type == "meta"
    assert model.item_table(source).device.type == "meta"


def test_evaluating_again_gives_the_same_bytes(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, CLUSTERED)
    written = []
    for _ in range(2):
        evaluated(folder, source, [source, overlapping_target()])
        written.append([path.read_bytes() for path in sorted((folder / "ranks").iterdir())])
    assert written[0] == written[1]


def test_patterns_change_the_ranks_only_through_w_f(source: Domain, tmp_path: Path) -> None:
    """A W_f that stayed as it starts, [I 0], leaves every rank as it was."""
    plain = trained(tmp_path / "plain", source)
    evaluated(plain, source, [source])
    folder = tmp_path / "clustered"
    folder.mkdir()
    retrain(folder, source, CLUSTERED)
    clustered(folder, source, dataclasses.replace(PATTERNS, learning_rate=1e-30))
    evaluated(folder, source, [source])
    name = "ranks/source_to_source.parquet"
    assert (folder / name).read_bytes() == (plain / name).read_bytes()


def test_a_variant_without_patterns_writes_an_empty_list(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source) / "patterns"
    assert [path.name for path in folder.iterdir()] == ["patterns.json"]
    content = read_sealed_json(folder / "patterns.json", "")
    assert (
        content.pop("valid_ndcg")
        == read_sealed_json(tmp_path / "model" / "model.json", "")["valid_ndcg"]
    )
    assert content == {"clusters": 0, "seeds": {}}


def test_a_variant_without_patterns_reads_neither_weights_nor_the_source(
    source: Domain, tmp_path: Path
) -> None:
    folder = trained(tmp_path, source)
    (folder / "model" / "seed-0.safetensors").unlink()

    def no_source() -> SourceDomains:
        raise AssertionError("the source was read")

    out = tmp_path / "again"
    cluster_model(folder / "model", no_source, PATTERNS, out, tmp_path / "validation.json")
    assert (out / "patterns.json").is_file()


def test_patterns_json_counts_every_user_once(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, CLUSTERED, seeds=(0, 3)) / "patterns"
    content = read_sealed_json(folder / "patterns.json", "")
    assert content["clusters"] == 3
    assert list(content["seeds"]) == ["seed-0", "seed-3"]
    for seed in content["seeds"].values():
        assert sum(seed["users_per_pattern"]) == 60
        assert 0 < seed["attention_entropy"] <= 1
        assert seed["valid_ndcg"] >= seed["valid_ndcg_without"]


def test_validation_is_the_mean_over_seeds_of_the_model_as_evaluated(
    source: Domain, tmp_path: Path
) -> None:
    folder = trained(tmp_path, source, CLUSTERED, seeds=(0, 3))
    seeds = read_sealed_json(folder / "patterns" / "patterns.json", "")["seeds"].values()
    ndcg = [seed["valid_ndcg"] for seed in seeds]
    patterns = read_sealed_json(folder / "patterns" / "patterns.json", "")
    assert patterns["valid_ndcg"] == ndcg
    assert read_json(folder / "validation.json") == {"ndcg@10": pytest.approx(sum(ndcg) / 2)}


def test_validation_without_patterns_is_that_of_training(source: Domain, tmp_path: Path) -> None:
    """Training validated on all 60 users of this source, as the cluster stage does."""
    folder = trained(tmp_path, source)
    card = read_sealed_json(folder / "model" / "model.json", "")
    validation = read_json(folder / "validation.json")
    assert validation == {"ndcg@10": pytest.approx(card["valid_ndcg"][0])}


def refusal(folder: Path, source: Domain, target: Domain) -> str:
    with pytest.raises(UserError) as caught:
        evaluated(folder, source, [source, target])
    assert not (folder / "ranks").exists()
    return str(caught.value)


def test_embeddings_of_another_encoder_are_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source)
    target = dataclasses.replace(cycle_domain("target"), encoder_fingerprint="another")
    assert refusal(folder, source, target) == (
        f"{folder / 'model'}: trained on embeddings of another encoder than those of target; run "
        "the train stage again with this encoder"
    )


def test_embeddings_of_another_dimension_are_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source)
    target = cycle_domain("target")
    target = dataclasses.replace(target, text=target.text[:, :6])
    assert refusal(folder, source, target) == (
        f"{folder / 'model'}: trained on embeddings of 8 dimensions, those of target have 6; run "
        "the train stage again with this encoder"
    )


def test_an_id_model_of_another_catalogue_is_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, IDS)
    grown = cycle_domain("source", num_items=30)
    assert refusal(folder, grown, grown) == (
        f"{folder / 'model'}: trained on 24 items, source has 30; run the train stage again"
    )


def test_patterns_of_another_number_are_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, CLUSTERED)
    write_sealed_json(
        folder / "patterns" / "patterns.json", {"clusters": 5, "seeds": {}, "valid_ndcg": []}
    )
    assert refusal(folder, source, source) == (
        f"{folder / 'patterns'}: holds 5 patterns, the model's variant has 3; run the cluster stage"
    )


def test_patterns_of_a_model_of_another_width_are_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source, CLUSTERED)
    retrain(folder, source, CLUSTERED, dim=20)
    assert refusal(folder, source, source) == (
        f"{folder / 'patterns' / 'seed-0.safetensors'}: made for user vectors of 16 dimensions, "
        "the model has 20; run the cluster stage"
    )


def test_weights_of_a_model_of_another_width_are_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source)
    card = read_sealed_json(folder / "model" / "model.json", "")
    card["spec"]["backbone_args"]["dim"] = 20
    write_sealed_json(folder / "model" / "model.json", card)
    weights = folder / "model" / "seed-0.safetensors"
    message = refusal(folder, source, source)
    assert message.startswith(
        f"{weights}: does not fit the model that the JSON beside it describes ("
    )
    assert message.endswith("; run the train stage")


def test_an_unfinished_model_is_refused(source: Domain, tmp_path: Path) -> None:
    folder = trained(tmp_path, source)
    card = folder / "model" / "model.json"
    card.unlink()
    missing = f"{card}: no such file; run the train stage"
    assert refusal(folder, source, source) == missing
    with pytest.raises(UserError) as caught:
        clustered(folder, source, PATTERNS)
    assert str(caught.value) == missing


def test_more_patterns_than_users_are_refused(tmp_path: Path) -> None:
    few = cycle_domain("few", num_users=4)
    with pytest.raises(UserError) as caught:
        trained(tmp_path, few, dataclasses.replace(SEM, patterns=PatternsConfig(clusters=50)))
    assert str(caught.value).startswith("50 patterns were asked for, but the source has only ")
    assert str(caught.value).endswith("; lower clusters in the variant")
    assert not (tmp_path / "patterns" / "patterns.json").exists()
