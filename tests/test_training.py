"""Training learns what can be learned, from the source alone, the same way every time."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from recg_core.backbones import BACKBONES
from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file
from recg_core.domains.domain import Domain
from recg_core.domains.pool import Pool
from recg_core.domains.sequences import Ragged, Sequences
from recg_core.models.card import MODEL_FILE, ModelSpec, Origin, read_card, spec_of
from recg_core.models.items import ItemsConfig, item_features
from recg_core.models.ranking.full_rank import rank_holdout, validation_ndcg
from recg_core.models.recommender import HistoryResidual, create_model
from recg_core.models.tensors import seed_path
from recg_core.models.trained import TrainedModel, load_recommender
from recg_core.models.variant import (
    AnchorConfig,
    GeneralizationConfig,
    IdItemsConfig,
    TextItemsConfig,
    VariantConfig,
)
from recg_core.training.adam import Adam
from recg_core.training.batch import draw_batch, enlarged, on_device, project_items
from recg_core.training.config import TrainConfig
from recg_core.training.losses import LOSSES
from recg_core.training.losses.bpr import BPR
from recg_core.training.objective import create_objective
from recg_core.training.plan import plan_runs
from recg_core.training.recorded import rounded
from recg_core.training.train import train_models
from recg_core.training.trainer import Trained, Trainer
from tests.conftest import alone, cycle_domain, ragged
from tests.project import bytes_below
from tests.test_backbones import row_of
from tests.test_losses import row_of as row_of_loss

CPU = torch.device("cpu")
SEM = VariantConfig(TextItemsConfig("text"), loss={"kind": "bpr"})
SOFTMAX = dataclasses.replace(SEM, loss={"kind": "softmax"})
CENTERS = GeneralizationConfig(intra={"kind": "uniformity"}, inter={"kind": "centers"}, alpha=0.01)
RECG = dataclasses.replace(
    SEM, items=TextItemsConfig("text", projections=2), generalization=CENTERS
)
CONFIG = TrainConfig(
    batch_size=32, learning_rate=0.01, max_epochs=40, patience=10, negatives=32, domain_sample=8,
    valid_users=200, threads=1,
)  # fmt: skip
SHORT = dataclasses.replace(CONFIG, max_epochs=3)


def spec(backbone: str, domain: Domain, variant: VariantConfig = SEM) -> ModelSpec:
    row = row_of(backbone, dropout=0.1, num_layers=1, mask_probability=0.3)
    return spec_of(backbone, row, variant, alone(domain))


def train(
    source: Domain,
    pool: Pool,
    model: ModelSpec,
    config: TrainConfig,
    seeds: Sequence[int],
    folder: Path,
) -> Path:
    """Train one model into `folder`; where it lies."""
    of, work = alone(source), folder / "work"
    train_models(plan_runs(of, pool, [model], config, seeds, work=work, device="cpu"), folder)
    return folder / model.backbone


def pool_of(*names: str) -> Pool:
    vectors = {name: cycle_domain(name, seed=i + 7).text for i, name in enumerate(names)}
    return Pool(vectors, "encoder")


def trained_model(trained: Trained, variant: VariantConfig, source: Domain) -> TrainedModel:
    origin = Origin(spec("gru4rec", source, variant), source.name, "encoder")
    return TrainedModel(trained.model, origin, "the model")


def recall_at_1(trained: Trained, domain: Domain, variant: VariantConfig) -> float:
    model = trained_model(trained, variant, domain)
    holdout = domain.sequences.holdout("test")
    scorer = model.scorer(domain, holdout.history, domain.sequences.observed("test"))
    ranks = rank_holdout(scorer, holdout, domain.num_items)
    return float(np.mean(ranks.num_higher == 0))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("items", [IdItemsConfig("id"), TextItemsConfig("text")])
def test_every_backbone_learns_a_deterministic_cycle(
    backbone: str, items: ItemsConfig, cycle: Domain
) -> None:
    variant = dataclasses.replace(SOFTMAX, items=items)
    trained = Trainer(alone(cycle), {}, spec(backbone, cycle, variant), CONFIG, 0, CPU).fit()
    assert recall_at_1(trained, cycle, variant) > 0.95


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_transition_of_the_texts_carries_over_to_other_items(
    backbone: str, cycle: Domain
) -> None:
    # The target has other users and, halfway between the source's, other items of the same circle.
    target = cycle_domain("target", num_items=48, seed=5)
    target = dataclasses.replace(target, text=target.text[1::2], sequences=cycle.sequences)
    variant = SOFTMAX
    trained = Trainer(alone(cycle), {}, spec(backbone, cycle, variant), CONFIG, 0, CPU).fit()
    assert recall_at_1(trained, target, variant) > 0.9


def test_the_loss_of_a_step_equals_the_plain_one(cycle: Domain) -> None:
    # GRU4Rec, since its state after a prefix does not depend on what follows.
    model = create_model(spec("gru4rec", cycle)).eval()
    features = torch.from_numpy(cycle.text)
    sequences = torch.tensor([[3, 1, 2, 5], [4, 6, 0, 0]])
    generator = torch.Generator().manual_seed(4)
    batch = draw_batch(model.backbone, sequences, cycle.num_items, 6, generator)
    items = project_items(model, features, batch, features[:0])
    loss = create_objective(model, cycle, BPR())(batch, items)

    negatives = torch.randint(1, 25, (6,), generator=torch.Generator().manual_seed(4))
    table = model.item_table(features)
    losses = []
    for row in ([3, 1, 2, 5], [4, 6]):
        for end in range(1, len(row)):
            user = model.user_vectors(table, torch.tensor([row[:end]]))[0]
            for negative in negatives.tolist():
                if negative != row[end]:
                    difference = user @ table[negative] - user @ table[row[end]]
                    losses.append(F.softplus(difference).item())
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-6)


def test_further_items_get_the_vectors_of_the_item_table(cycle: Domain) -> None:
    model = create_model(spec("gru4rec", cycle, RECG))
    features = torch.from_numpy(cycle.text)
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(model.backbone, torch.tensor([[3, 1, 2]]), cycle.num_items, 2, generator)
    more = project_items(model, features, batch, features[4:7]).more_ED
    torch.testing.assert_close(more, model.item_table(features)[5:8])


def test_two_projections_are_concatenated_and_merged(cycle: Domain) -> None:
    items = create_model(spec("gru4rec", cycle, RECG)).items
    features = torch.from_numpy(cycle.text)
    first, second = items.projections(features).split(16, dim=1)
    merged = items.merge(torch.cat([first, second], dim=1))
    torch.testing.assert_close(items(features), merged)


def test_a_step_projects_the_items_of_the_batch_alone(cycle: Domain) -> None:
    model = create_model(spec("sasrec", cycle))
    seen = []
    model.items.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    sequences = torch.tensor([[3, 1, 2, 1], [3, 2, 0, 0]])
    features = torch.from_numpy(cycle.text)
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(model.backbone, sequences, cycle.num_items, 1, generator)
    project_items(model, features, batch, features[:0])
    assert seen[0] <= 4


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("variant", [RECG, dataclasses.replace(SEM, anchor=AnchorConfig(True))])
def test_a_step_waits_for_no_value_on_the_device(
    backbone: str, variant: VariantConfig, cycle: Domain
) -> None:
    """The meta device has shapes and no values: whatever asks for one, or for a size that depends
    on one, raises."""
    pool, meta = pool_of("x", "y").vectors, torch.device("meta")
    trainer = Trainer(alone(cycle), pool, spec(backbone, cycle, variant), SHORT, 0, meta)
    (part,) = trainer.parts
    tensors = trainer._draw(part, part.rows[:32], torch.Generator().manual_seed(0))
    moved = on_device(tensors, meta)
    assert {tensor.device for tensor in moved} == {meta}
    assert trainer._step(part, moved).shape == (3,)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_same_seed_gives_the_same_bytes(backbone: str, cycle: Domain, tmp_path: Path) -> None:
    digests = []
    for name, seeds in (("a", [1]), ("b", [1]), ("c", [2])):
        model = spec(backbone, cycle, RECG)
        folder = train(cycle, pool_of("x", "y"), model, SHORT, seeds, tmp_path / name)
        digests.append(sha256_file(seed_path(folder, seeds[0])))
    assert digests[0] == digests[1] != digests[2]
    cards = [(tmp_path / name / backbone / MODEL_FILE).read_bytes() for name in ("a", "b")]
    assert cards[0] == cards[1]


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recg_core.training.trainer.SAVE_SECONDS", 0.0)
    pool, model = pool_of("x", "y"), spec("sasrec", cycle, RECG)
    train(cycle, pool, model, SHORT, [0], tmp_path / "unbroken")

    advance = Trainer._advance

    def interrupted(self: Trainer, progress: Any, bar: Any) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt
        advance(self, progress, bar)

    monkeypatch.setattr(Trainer, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(cycle, pool, model, SHORT, [0], tmp_path / "broken")
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["work"]

    epochs = []

    def counted(self: Trainer, progress: Any, bar: Any) -> None:
        advance(self, progress, bar)
        epochs.append(progress.epoch)

    monkeypatch.setattr(Trainer, "_advance", counted)
    train(cycle, pool, model, SHORT, [0], tmp_path / "broken")
    assert epochs == [3]
    unbroken = bytes_below(tmp_path / "unbroken" / "sasrec")
    assert sorted(unbroken) == [MODEL_FILE, "seed-0.safetensors"]
    assert bytes_below(tmp_path / "broken" / "sasrec") == unbroken


def test_a_change_of_one_model_trains_no_other_again(
    cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though DVC deletes the output of a stage before it runs again."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    epochs: list[str] = []
    advance = Trainer._advance

    def counted(self: Trainer, progress: Any, bar: Any) -> None:
        epochs.append(self.label.split()[0])
        advance(self, progress, bar)

    monkeypatch.setattr(Trainer, "_advance", counted)
    specs = {name: spec(name, cycle) for name in ("gru4rec", "sasrec")}
    out, work = tmp_path / "out", tmp_path / "work"

    def run(config: TrainConfig = SHORT) -> dict[str, bytes]:
        shutil.rmtree(out, ignore_errors=True)
        epochs.clear()
        models = list(specs.values())
        train_models(plan_runs(alone(cycle), pool_of(), models, config, [0], work=work), out)
        return bytes_below(out)

    first = run()
    assert epochs == ["gru4rec"] * 3 + ["sasrec"] * 3
    assert run() == first
    assert epochs == []
    changed = {**specs["sasrec"].backbone_args, "dim": 8}
    specs["sasrec"] = dataclasses.replace(specs["sasrec"], backbone_args=changed)
    run()
    assert epochs == ["sasrec"] * 3
    run(dataclasses.replace(SHORT, learning_rate=0.02))
    assert epochs == ["gru4rec"] * 3 + ["sasrec"] * 3


def test_other_settings_never_go_on_from_an_interrupted_run(
    cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recg_core.training.trainer.SAVE_SECONDS", 0.0)
    advance, epochs = Trainer._advance, []

    def interrupted(self: Trainer, progress: Any, bar: Any) -> None:
        if progress.epoch == 2 and not epochs:
            raise KeyboardInterrupt
        advance(self, progress, bar)
        if self.config.learning_rate != SHORT.learning_rate:
            epochs.append(progress.epoch)

    monkeypatch.setattr(Trainer, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(cycle, pool_of(), spec("sasrec", cycle), SHORT, [0], tmp_path)
    other = dataclasses.replace(SHORT, learning_rate=0.02)
    train(cycle, pool_of(), spec("sasrec", cycle), other, [0], tmp_path)
    assert epochs == [1, 2, 3]


def test_seeds_in_worker_processes_give_what_one_process_gives(
    cycle: Domain, tmp_path: Path
) -> None:
    model = spec("gru4rec", cycle)
    together = train(cycle, pool_of(), model, SHORT, [0, 1], tmp_path / "both")
    card = read_card(together)
    for seed in (0, 1):
        folder = train(cycle, pool_of(), model, SHORT, [seed], tmp_path / str(seed))
        both, alone = (load_recommender(card.spec, place, seed) for place in (together, folder))
        for one, other in zip(both.parameters(), alone.parameters(), strict=True):
            assert torch.equal(one, other)


def test_items_after_the_training_part_cannot_change_a_model(cycle: Domain, tmp_path: Path) -> None:
    """Validation and test items are not trained on: other ones give the same parameters."""
    sequences = cycle.sequences
    values = sequences.items.values.copy()
    values[sequences.items.offsets[1:] - 1] = 1
    values[sequences.items.offsets[1:] - 2] = 2
    changed = dataclasses.replace(
        cycle,
        sequences=dataclasses.replace(sequences, items=Ragged(values, sequences.items.offsets)),
    )
    # One epoch, so that validation cannot choose another one.
    config = dataclasses.replace(CONFIG, max_epochs=1)
    digests = []
    for name, domain in (("a", cycle), ("b", changed)):
        folder = train(domain, pool_of(), spec("sasrec", domain), config, [0], tmp_path / name)
        digests.append(sha256_file(seed_path(folder, 0)))
    assert digests[0] == digests[1]


PRINTED = GeneralizationConfig(
    intra={"kind": "entropy", "tau": 1.0}, inter={"kind": "entropy_max", "tau": 1.0}, alpha=0.01
)
ISOMETRY = GeneralizationConfig(intra={"kind": "isometry"}, alpha=1.0)


def test_two_domains_are_refused_for_the_printed_inter_domain_loss(
    cycle: Domain, tmp_path: Path
) -> None:
    variant = dataclasses.replace(RECG, generalization=PRINTED)
    with pytest.raises(UserError, match=r"\['cycle', 'x'\]: add domains to pool.domains"):
        train(cycle, pool_of("x"), spec("sasrec", cycle, variant), SHORT, [0], tmp_path)


@pytest.mark.parametrize(("generalization", "pool"), [(CENTERS, ("x",)), (ISOMETRY, ("cycle",))])
def test_two_domains_or_one_suffice_for_readings_that_compare_no_more(
    generalization: GeneralizationConfig, pool: tuple[str, ...], cycle: Domain, tmp_path: Path
) -> None:
    """The paper's base case is one source and one target; `recg` compares pairs of one domain."""
    variant = dataclasses.replace(RECG, generalization=generalization)
    config = dataclasses.replace(SHORT, max_epochs=1)
    folder = train(cycle, pool_of(*pool), spec("sasrec", cycle, variant), config, [0], tmp_path)
    assert read_card(folder).pool_domains == sorted({"cycle", *pool})


def test_a_pool_of_another_encoder_is_refused(cycle: Domain, tmp_path: Path) -> None:
    pool = dataclasses.replace(pool_of("x", "y"), fingerprint="other")
    with pytest.raises(UserError, match="made by another encoder than the embeddings of cycle"):
        train(cycle, pool, spec("sasrec", cycle, RECG), SHORT, [0], tmp_path)


def test_a_sample_of_one_item_is_refused(cycle: Domain, tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, domain_sample=1)
    with pytest.raises(UserError, match=r"train\.domain_sample \(1\)"):
        train(cycle, pool_of("x", "y"), spec("sasrec", cycle, RECG), config, [0], tmp_path)


def test_the_generalization_loss_changes_the_model_and_is_logged_apart(cycle: Domain) -> None:
    pool = pool_of("x", "y").vectors
    curves = {}
    for alpha in (1.0, 1e-12):
        part = dataclasses.replace(CENTERS, alpha=alpha)
        variant = dataclasses.replace(RECG, generalization=part)
        trained = Trainer(alone(cycle), pool, spec("sasrec", cycle, variant), SHORT, 0, CPU).fit()
        curves[alpha] = trained.curve[-1]
    assert curves[1.0]["inter"] < curves[1e-12]["inter"]
    beta = 1.0 * 24 / 27  # Eq. 14 with 3 domains of 8 items
    last = curves[1.0]
    expected = last["recommendation"] + last["intra"] + beta * last["inter"]
    assert last["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("valid_users", [300, 50])
def test_early_stopping_judges_the_model_as_the_scorer_does(
    valid_users: int, cycle: Domain
) -> None:
    """By the same counts; where it ranks for some users alone, what is reported is of all."""
    variant = dataclasses.replace(SEM, score="cosine", anchor=AnchorConfig(counts=True))
    config = dataclasses.replace(SHORT, learning_rate=1e-4, valid_users=valid_users)
    trained = Trainer(alone(cycle), {}, spec("gru4rec", cycle, variant), config, 0, CPU).fit()
    holdout = cycle.sequences.holdout("valid")
    model = trained_model(trained, variant, cycle)
    scorer = model.scorer(cycle, holdout.history, cycle.sequences.observed("valid"))
    ndcg = validation_ndcg(scorer, holdout, cycle.num_items)
    assert trained.valid_ndcg == ndcg < 1
    stopped_by = trained.curve[trained.best_epoch - 1]["valid_ndcg@10"]
    assert (stopped_by == ndcg) == (valid_users == 300)


@pytest.mark.parametrize("fused", [True, False])
def test_adam_steps_as_that_of_torch_does(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (4,), (2,))]
    ours, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    optimizer = Adam([(ours[:2], 0.01), (ours[2:], 0.05)], fused=fused)
    reference = torch.optim.Adam(
        [{"params": theirs[:2], "lr": 0.01}, {"params": theirs[2:], "lr": 0.05}], fused=fused
    )
    for step in range(5):
        for parameters, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            used = parameters if step % 2 else parameters[1:]  # one without a gradient
            sum((p**3).sum() for p in used).backward()  # type: ignore[union-attr]
            one.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_no_user_with_two_training_items_is_refused() -> None:
    domain = cycle_domain("d", num_users=3)
    short = Sequences(ragged([[1, 2, 3]]), ["u"], np.array([1]), np.array([1]), np.array([2]))
    domain = dataclasses.replace(domain, sequences=short)
    with pytest.raises(UserError, match="no user has two training items"):
        Trainer(alone(domain), {}, spec("sasrec", domain), SHORT, 0, CPU).fit()


def test_a_diverging_loss_stops_with_advice(cycle: Domain) -> None:
    config = dataclasses.replace(SHORT, learning_rate=1e30)
    with pytest.raises(UserError, match=r"lower train\.learning_rate"):
        Trainer(alone(cycle), {}, spec("gru4rec", cycle), config, 0, CPU).fit()


def test_weights_of_another_dimension_are_refused(cycle: Domain, tmp_path: Path) -> None:
    model = spec("sasrec", cycle)
    config = dataclasses.replace(SHORT, max_epochs=1)
    folder = train(cycle, pool_of(), model, config, [0], tmp_path)
    wider = dataclasses.replace(model, backbone_args={**model.backbone_args, "dim": 32})
    with pytest.raises(UserError, match="does not fit the model"):
        load_recommender(wider, folder, 0)


CENTERED = TextItemsConfig("text", center=True)
RESIDUAL = dataclasses.replace(SEM, items=CENTERED, score="cosine", user="residual")


def test_cosine_scores_do_not_depend_on_the_length_of_a_text_embedding(cycle: Domain) -> None:
    model = create_model(spec("gru4rec", cycle, dataclasses.replace(SEM, score="cosine"))).eval()
    with torch.no_grad():
        model.items.projections.bias.zero_()  # type: ignore[union-attr]
        table = model.item_table(torch.from_numpy(cycle.text))
        longer = model.item_table(7 * torch.from_numpy(cycle.text))
        users = model.user_vectors(table, torch.tensor([[3, 1, 2]]))
    torch.testing.assert_close(table, longer)
    cosine = F.cosine_similarity(users, table[1:])
    torch.testing.assert_close((users @ table[1:].T)[0], 15 * cosine)


def test_centered_features_forget_what_all_items_of_a_domain_share(cycle: Domain) -> None:
    shifted = cycle.text + np.float32(2)
    features = item_features(CENTERED, cycle.text)
    torch.testing.assert_close(features, item_features(CENTERED, shifted))
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(cycle.text.shape[1]))


def test_the_history_residual_equals_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    states, items = torch.randn(2, 2, 4, 3, generator=generator)
    found = HistoryResidual()(states, items)
    for user in range(2):
        for position in range(4):
            mean = sum(0.85 ** (position - i) * items[user, i] for i in range(position + 1))
            expected = states[user, position] + 2 * 3**0.5 * mean / mean.norm()
            torch.testing.assert_close(found[user, position], expected)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_with_the_history_residual_padding_and_batch_do_not_matter(
    backbone: str, cycle: Domain
) -> None:
    model = create_model(spec(backbone, cycle, RESIDUAL)).eval()
    with torch.no_grad():
        table = model.item_table(item_features(CENTERED, cycle.text))
        alone = model.user_vectors(table, torch.tensor([[4, 9]]))
        padded = model.user_vectors(table, torch.tensor([[4, 9, 0, 0], [1, 2, 3, 4]]))
    torch.testing.assert_close(alone[0], padded[0])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("variant", [RECG, dataclasses.replace(SEM, anchor=AnchorConfig(True))])
def test_an_enlarged_batch_says_the_same(
    backbone: str, loss: str, variant: VariantConfig, cycle: Domain
) -> None:
    """So that a GPU meets few shapes: the same loss, the same gradients."""
    model = create_model(spec(backbone, cycle, variant)).eval()
    objective = create_objective(model, cycle, build_kind(LOSSES, row_of_loss("loss", loss), "x"))
    features = torch.from_numpy(cycle.text)
    sequences = torch.tensor([[3, 1, 2, 5, 9], [4, 6, 2, 0, 0], [8, 7, 0, 0, 0]])
    generator = torch.Generator().manual_seed(4)
    batch = draw_batch(model.backbone, sequences, cycle.num_items, 6, generator)
    larger = enlarged(batch, lambda size: size + 3, model.backbone.training_length)
    assert larger.inputs_BL.shape[1] == batch.inputs_BL.shape[1] + 3
    assert len(larger.targets_P) == len(batch.targets_P) + 3
    found = []
    for each in (batch, larger):
        model.zero_grad()
        value = objective(each, project_items(model, features, each, features[:2]))
        value.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([value.detach(), *gradients])
    assert len(found[0]) > 5
    torch.testing.assert_close(found[1], found[0])


@given(st.integers(1, 10**6))
def test_rounded_sizes_are_few_and_close(size: int) -> None:
    assert size <= rounded(size) < 1.25 * size + 1
    assert rounded(rounded(size)) == rounded(size)
    assert len({rounded(each) for each in range(513, 1025)}) == 4
