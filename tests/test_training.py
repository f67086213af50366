"""Training learns what can be learned, from the source alone, the same way every time."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recg_core.models.model import (
    MODEL_FILE,
    HistoryResidual,
    ModelSpec,
    VariantConfig,
    create_model,
    dot_scorer,
    load_model,
    model_features,
    read_card,
    user_matrix,
    weights_path,
)
from recg_core.training.seeds import train_model

from recg_core.backbones import BACKBONES
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file
from recg_core.domains.domain import Domain
from recg_core.domains.pool import Pool
from recg_core.domains.sequences import Ragged, Sequences
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.training.trainer import TrainConfig, Trained, recommendation_loss, train_seed
from tests.conftest import cycle_domain, ragged

SEM = VariantConfig(
    items="text", projections=1, loss="bpr", inter="off", intra="off", alpha=0.0, beta=None,
    tau=1.0, clusters=0, pattern_temperature=1.0,
)  # fmt: skip
RECG = dataclasses.replace(SEM, projections=2, inter="centers", intra="uniformity", alpha=0.01)
CONFIG = TrainConfig(
    batch_size=32, learning_rate=0.01, max_epochs=40, patience=10, negatives=32, domain_sample=8,
    valid_users=200, threads=1,
)  # fmt: skip
SHORT = dataclasses.replace(CONFIG, max_epochs=3)
ARGS: dict[str, dict[str, Any]] = {
    "gru4rec": {"num_layers": 1},
    "sasrec": {"num_layers": 1, "num_heads": 2},
    "bert4rec": {"num_layers": 1, "num_heads": 2, "mask_probability": 0.3},
}


def spec(backbone: str, domain: Domain, variant: VariantConfig = SEM) -> ModelSpec:
    args = {"dim": 16, "dropout": 0.1, "max_length": 12, **ARGS[backbone]}
    dimension = domain.num_items if variant.items == "id" else domain.text.shape[1]
    return ModelSpec(backbone, args, variant, dimension)


def pool_of(*names: str) -> Pool:
    vectors = {name: cycle_domain(name, seed=i + 7).text for i, name in enumerate(names)}
    return Pool(vectors, "encoder")


def recall_at_1(trained: Trained, domain: Domain, variant: VariantConfig = SEM) -> float:
    holdout = domain.sequences.holdout("test")
    with torch.no_grad():
        table = trained.model.item_table(model_features(variant, domain.text))
    users = user_matrix(trained.model, table, holdout.history)
    ranks = rank_holdout(dot_scorer(users, table), holdout, domain.num_items)
    return float(np.mean(ranks.num_higher == 0))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("items", ["id", "text"])
def test_every_backbone_learns_a_deterministic_cycle(
    backbone: str, items: Any, cycle: Domain
) -> None:
    variant = dataclasses.replace(SEM, items=items, loss="softmax")
    trained = train_seed(cycle, {}, spec(backbone, cycle, variant), CONFIG, seed=0)
    assert recall_at_1(trained, cycle, variant) > 0.95


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_transition_of_the_texts_carries_over_to_other_items(
    backbone: str, cycle: Domain
) -> None:
    # The target has other users and, halfway between the source's, other items of the same circle.
    target = cycle_domain("target", num_items=48, seed=5)
    target = dataclasses.replace(target, text=target.text[1::2], sequences=cycle.sequences)
    variant = dataclasses.replace(SEM, loss="softmax")
    trained = train_seed(cycle, {}, spec(backbone, cycle, variant), CONFIG, seed=0)
    assert recall_at_1(trained, target, variant) > 0.9


def test_the_loss_of_a_step_equals_the_plain_one(cycle: Domain) -> None:
    # GRU4Rec, since its state after a prefix does not depend on what follows.
    model = create_model(spec("gru4rec", cycle)).eval()
    features = torch.from_numpy(cycle.text)
    sequences = torch.tensor([[3, 1, 2, 5], [4, 6, 0, 0]])
    generator = torch.Generator().manual_seed(4)
    loss, _ = recommendation_loss(model, features, sequences, 6, "bpr", generator, features[:0])

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
    sequences = torch.tensor([[3, 1, 2]])
    _, more = recommendation_loss(model, features, sequences, 2, "bpr", generator, features[4:7])
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
    recommendation_loss(model, features, sequences, 1, "bpr", generator, features[:0])
    assert seen[0] <= 4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_same_seed_gives_the_same_bytes(backbone: str, cycle: Domain, tmp_path: Path) -> None:
    digests = []
    for name, seeds in (("a", [1]), ("b", [1]), ("c", [2])):
        train_model(
            cycle, pool_of("x", "y"), spec(backbone, cycle, RECG), SHORT, seeds, tmp_path / name
        )
        digests.append(sha256_file(weights_path(tmp_path / name, seeds[0])))
    assert digests[0] == digests[1] != digests[2]
    assert (tmp_path / "a" / MODEL_FILE).read_bytes() == (tmp_path / "b" / MODEL_FILE).read_bytes()


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recg_core.training.trainer.SAVE_SECONDS", 0.0)
    pool, model = pool_of("x", "y"), spec("sasrec", cycle, RECG)
    train_model(cycle, pool, model, SHORT, [0], tmp_path / "unbroken")

    from recg_core.training.trainer import Trainer

    advance = Trainer._advance

    def interrupted(self: Trainer, progress: Any, bar: Any) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt
        advance(self, progress, bar)

    monkeypatch.setattr(Trainer, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_model(cycle, pool, model, SHORT, [0], tmp_path / "broken")
    assert not (tmp_path / "broken" / MODEL_FILE).exists()

    epochs = []

    def counted(self: Trainer, progress: Any, bar: Any) -> None:
        advance(self, progress, bar)
        epochs.append(progress.epoch)

    monkeypatch.setattr(Trainer, "_advance", counted)
    train_model(cycle, pool, model, SHORT, [0], tmp_path / "broken")
    assert epochs == [3]
    files = sorted(path.name for path in (tmp_path / "unbroken").iterdir())
    assert files == [MODEL_FILE, "seed-0.safetensors"]
    for name in files:
        assert (tmp_path / "unbroken" / name).read_bytes() == (
            tmp_path / "broken" / name
        ).read_bytes()


def test_other_settings_never_go_on_from_an_interrupted_run(
    cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recg_core.training.trainer import Trainer

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
        train_model(cycle, pool_of(), spec("sasrec", cycle), SHORT, [0], tmp_path)
    other = dataclasses.replace(SHORT, learning_rate=0.02)
    train_model(cycle, pool_of(), spec("sasrec", cycle), other, [0], tmp_path)
    assert epochs == [1, 2, 3]


def test_seeds_in_worker_processes_give_what_one_process_gives(
    cycle: Domain, tmp_path: Path
) -> None:
    train_model(cycle, pool_of(), spec("gru4rec", cycle), SHORT, [0, 1], tmp_path / "both")
    for seed in (0, 1):
        train_model(cycle, pool_of(), spec("gru4rec", cycle), SHORT, [seed], tmp_path / str(seed))
        both = load_model(tmp_path / "both", seed, read_card(tmp_path / "both").spec)
        alone = load_model(tmp_path / str(seed), seed, read_card(tmp_path / "both").spec)
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
        train_model(domain, pool_of(), spec("sasrec", domain), config, [0], tmp_path / name)
        digests.append(sha256_file(weights_path(tmp_path / name, 0)))
    assert digests[0] == digests[1]


def test_two_domains_are_refused_for_the_inter_domain_loss(cycle: Domain, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\['cycle', 'x'\]: add domains to pool.domains"):
        train_model(cycle, pool_of("x"), spec("sasrec", cycle, RECG), SHORT, [0], tmp_path)


def test_a_pool_of_another_encoder_is_refused(cycle: Domain, tmp_path: Path) -> None:
    pool = dataclasses.replace(pool_of("x", "y"), fingerprint="other")
    with pytest.raises(UserError, match="made by another encoder than the embeddings of cycle"):
        train_model(cycle, pool, spec("sasrec", cycle, RECG), SHORT, [0], tmp_path)


def test_a_sample_of_one_item_is_refused(cycle: Domain, tmp_path: Path) -> None:
    config = dataclasses.replace(SHORT, domain_sample=1)
    with pytest.raises(UserError, match=r"train\.domain_sample \(1\)"):
        train_model(cycle, pool_of("x", "y"), spec("sasrec", cycle, RECG), config, [0], tmp_path)


def test_the_generalization_loss_changes_the_model_and_is_logged_apart(cycle: Domain) -> None:
    pool = pool_of("x", "y").vectors
    strong = dataclasses.replace(RECG, alpha=1.0)
    weak = dataclasses.replace(RECG, alpha=0.0)
    curves = {}
    for name, variant in (("strong", strong), ("weak", weak)):
        trained = train_seed(cycle, pool, spec("sasrec", cycle, variant), SHORT, seed=0)
        curves[name] = trained.curve[-1]
    assert curves["strong"]["inter"] < curves["weak"]["inter"]
    beta = 1.0 * 24 / 27  # Eq. 14 with 3 domains of 8 items
    last = curves["strong"]
    expected = last["recommendation"] + last["intra"] + beta * last["inter"]
    assert last["loss"] == pytest.approx(expected, rel=1e-5)


def test_no_user_with_two_training_items_is_refused() -> None:
    domain = cycle_domain("d", num_users=3)
    short = Sequences(ragged([[1, 2, 3]]), ["u"], np.array([1]), np.array([1]), np.array([2]))
    domain = dataclasses.replace(domain, sequences=short)
    with pytest.raises(UserError, match="no user has two training items"):
        train_seed(domain, {}, spec("sasrec", domain), SHORT, seed=0)


def test_a_diverging_loss_stops_with_advice(cycle: Domain) -> None:
    config = dataclasses.replace(SHORT, learning_rate=1e30)
    with pytest.raises(UserError, match=r"lower train\.learning_rate"):
        train_seed(cycle, {}, spec("gru4rec", cycle), config, seed=0)


def test_weights_of_another_dimension_are_refused(cycle: Domain, tmp_path: Path) -> None:
    model = spec("sasrec", cycle)
    train_model(cycle, pool_of(), model, dataclasses.replace(SHORT, max_epochs=1), [0], tmp_path)
    wider = dataclasses.replace(model, backbone_args={**model.backbone_args, "dim": 32})
    with pytest.raises(UserError, match="does not fit the model"):
        load_model(tmp_path, 0, wider)


RESIDUAL = dataclasses.replace(SEM, score="cosine", user="residual", inter="centered")


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
    features = model_features(RESIDUAL, cycle.text)
    torch.testing.assert_close(features, model_features(RESIDUAL, shifted))
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
        table = model.item_table(model_features(RESIDUAL, cycle.text))
        alone = model.user_vectors(table, torch.tensor([[4, 9]]))
        padded = model.user_vectors(table, torch.tensor([[4, 9, 0, 0], [1, 2, 3, 4]]))
    torch.testing.assert_close(alone[0], padded[0])
