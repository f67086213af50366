"""Models of several domains: what they are trained on, and what they are not."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json
from recg_core.base.params import read_params
from recg_core.base.schema import SEQUENCES
from recg_core.base.sources import domains_of, in_domain
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains, load_source
from recg_core.evaluation.cells import saw_of_model
from recg_core.evaluation.slices import slice_attributes
from recg_core.models.card import ModelCard, Origin, spec_of
from recg_core.models.in_context.scorer import InContext
from recg_core.models.trained import TrainedModel
from recg_core.models.variant import IdItemsConfig, InContextConfig, PatternsConfig
from recg_core.report.cells import Grid
from recg_core.report.show import show_results
from recg_core.serving.bundle import load_from_pipeline
from recg_core.training import trainer as trainer_module
from recg_core.training.batch import Batch, BatchItems, mixed, project_items
from recg_core.training.fusion import fit_patterns
from recg_core.training.in_context import (
    Examples,
    _together,
    in_context_weights,
    learn_in_context,
    with_context,
    without_context,
)
from recg_core.training.trainer import Trained, Trainer
from stages import WORK
from tests.conftest import alone, cycle_domain
from tests.project import (
    DOMAINS,
    bytes_below,
    run_command,
    run_stages,
    small_params,
    stage_of,
    with_value,
    write_params,
)
from tests.test_patterns import CONFIG as FUSION
from tests.test_training import CONFIG, CPU, SEM, SHORT, SOFTMAX, recall_at_1, spec

STILL = dataclasses.replace(SHORT, max_epochs=1, learning_rate=1e-30)  # leaves a model as it is


def shifted(domain: Domain, name: str) -> Domain:
    """A domain of the same users whose items have other texts, and another name."""
    text = np.ascontiguousarray(domain.text[:, ::-1])
    return dataclasses.replace(domain, name=name, text=text)


def fitted(source: SourceDomains, config: Any = STILL, variant: Any = SEM) -> Trained:
    model = spec("gru4rec", source.domains[0], variant)
    return Trainer(source, {}, model, config, 0, CPU).fit()


# --- names


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["garden+garden"], "grid.sources: 'garden+garden' names a domain twice"),
        (["garden+attic"], "grid.sources: ['attic'] not in grid.domains"),
        (["garden+"], "grid.sources: '' is no name"),
        (["a+b+c-d"], "grid.sources: 'c-d' is no name"),
        (
            ["garden+kitchen", "kitchen+garden"],
            "grid.sources: 'kitchen+garden' and 'garden+kitchen' are the same domains; keep one",
        ),
    ],
)
def test_a_wrong_source_is_refused(sources: list[str], message: str, tmp_path: Path) -> None:
    write_params(tmp_path, with_value(small_params(), "grid.sources", sources))
    with pytest.raises(UserError) as caught:
        read_params(tmp_path / "params.yaml")
    assert message in str(caught.value)


def test_a_domain_cannot_have_the_name_of_a_source_of_several(tmp_path: Path) -> None:
    write_params(tmp_path, with_value(small_params(), "grid.domains", ["garden", "kitchen+office"]))
    with pytest.raises(UserError, match=r"grid\.domains: 'kitchen\+office' is no name"):
        read_params(tmp_path / "params.yaml")


def test_a_model_of_item_ids_of_several_domains_is_refused(cycle: Domain) -> None:
    several = SourceDomains((cycle, cycle_domain("other")))
    ids = dataclasses.replace(SEM, items=IdItemsConfig("id"))
    with pytest.raises(UserError, match=r"cannot be trained on cycle\+other"):
        spec_of("gru4rec", {}, ids, several)


def test_what_is_in_domain_goes_by_whole_names() -> None:
    assert domains_of("IS+VG") == ("IS", "VG")
    assert [in_domain("IS+VG", name) for name in ("IS", "VG", "MI", "I", "IS+VG")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_domains_of_different_encoders_are_no_source(cycle: Domain) -> None:
    other = dataclasses.replace(cycle_domain("other"), encoder_fingerprint="another")
    with pytest.raises(UserError, match="cycle and other are by different encoders"):
        SourceDomains((cycle, other))


# --- training


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 100))
def test_mixing_loses_and_repeats_nothing(counts: list[int], seed: int) -> None:
    found = list(mixed(counts, [seed]))
    assert Counter(found) == Counter({i: n for i, n in enumerate(counts) if n})
    assert found == list(mixed(counts, [seed]))


def test_a_model_of_two_domains_knows_both(cycle: Domain) -> None:
    """The second domain's texts are those of the first turned round, and its cycle is shorter."""
    other = shifted(cycle_domain("other", num_items=18, seed=4), "other")
    source = SourceDomains((cycle, other))
    trained = fitted(source, CONFIG, SOFTMAX)
    of_first = fitted(alone(cycle), CONFIG, SOFTMAX)
    assert all(recall_at_1(trained, domain, SOFTMAX) > 0.95 for domain in source.domains)
    assert recall_at_1(of_first, other, SOFTMAX) < 0.5


def test_a_step_is_about_users_and_items_of_one_domain(
    cycle: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = shifted(cycle_domain("few", num_users=90, num_items=11, seed=2), "few")
    source = SourceDomains((cycle, few))
    users: Counter[str] = Counter()

    def projected(model: Any, features: torch.Tensor, batch: Batch, more: Any) -> BatchItems:
        (domain,) = (d for d in source.domains if np.array_equal(features.numpy(), d.text))
        rows = domain.sequences.training()
        known = {tuple(rows.take(np.array([row])).values.tolist()) for row in range(len(rows))}
        for sequence in batch.sequences_BL.tolist():
            assert tuple(item for item in sequence if item) in known
        assert int(batch.negatives_M.max()) <= domain.num_items
        users[domain.name] += len(batch.sequences_BL)
        return project_items(model, features, batch, more)

    monkeypatch.setattr(trainer_module, "project_items", projected)
    fitted(source, dataclasses.replace(STILL, batch_size=16))
    assert users == {
        d.name: int((d.sequences.training().lengths >= 2).sum()) for d in source.domains
    }


def test_epochs_are_judged_by_the_mean_over_domains(cycle: Domain) -> None:
    other = shifted(cycle_domain("other", num_items=18, seed=4), "other")
    found = fitted(SourceDomains((cycle, other))).valid_ndcg
    of_each = [fitted(alone(domain)).valid_ndcg for domain in (cycle, other)]
    assert found == pytest.approx(np.mean(of_each), rel=1e-6)
    assert of_each[0] != of_each[1]


def test_a_source_doubled_is_judged_as_it_is(cycle: Domain) -> None:
    doubled = SourceDomains((cycle, dataclasses.replace(cycle, name="again")))
    assert fitted(doubled).valid_ndcg == fitted(alone(cycle)).valid_ndcg


def test_patterns_are_of_the_users_of_all_domains(cycle: Domain) -> None:
    other = cycle_domain("other", num_users=90, num_items=11, seed=2)
    source = SourceDomains((cycle, other))
    variant = dataclasses.replace(SEM, patterns=PatternsConfig(clusters=4))
    made = fitted(source, SHORT, variant)
    origin = Origin(spec("gru4rec", cycle, variant), source.name, "encoder")
    model = TrainedModel(made.model, origin, "the model")
    part = PatternsConfig(clusters=4)
    _, summary = fit_patterns(model, part, source, FUSION, seed=0)
    assert sum(summary.users_per_pattern) == 390
    of_each = [
        fit_patterns(model, part, alone(domain), FUSION, seed=0)[1].valid_ndcg_without
        for domain in source.domains
    ]
    assert summary.valid_ndcg_without == pytest.approx(np.mean(of_each), rel=1e-6)


def test_what_fills_up_examples_stands_for_nothing() -> None:
    model = InContext()
    model.least.fill_(-10.0)
    model.most.fill_(10.0)
    generator = torch.Generator().manual_seed(0)
    kinds, properties = model.gate.shape
    parts = [
        Examples(
            torch.randn(3, size, kinds, generator=generator),
            torch.randn(3, properties, generator=generator),
            torch.zeros(3, size),
        )
        for size in (7, 5)
    ]

    def losses(found: Examples) -> torch.Tensor:
        scores = model(found.evidence_BME, found.properties_BG) + found.log_weight_BM
        return -scores.log_softmax(dim=1)[:, 0]

    apart = torch.cat([losses(part) for part in parts])
    assert torch.allclose(losses(_together(parts)), apart)


def test_in_context_weights_hold_within_the_range_of_all_domains() -> None:
    """The most events an item: that of the domain that has more, with all of its histories."""
    dense = cycle_domain("dense", num_users=40, num_items=12)
    sparse = cycle_domain("sparse", num_users=20, num_items=40, seed=1)
    most = {}
    for source in (alone(dense), alone(sparse), SourceDomains((sparse, dense))):
        model = InContext()
        learn_in_context(model, source, users=40, seed=0)
        most[source.name] = float(model.most[-1])
        assert float(model.least[-1]) == pytest.approx(-2.0)  # no events, about the mean
    assert most["sparse"] < most["dense"] == most["sparse+dense"]


def test_in_context_counts_the_model_in_all_its_domains_and_nowhere_else() -> None:
    one, other = cycle_domain("one", num_users=60), cycle_domain("other", num_users=50, seed=1)
    source, target = SourceDomains((one, other)), cycle_domain("target", num_users=40, seed=2)
    variant = dataclasses.replace(SEM, score="cosine", in_context=InContextConfig(20))
    of = spec("gru4rec", one, variant)
    trained = Trainer(source, {}, without_context(of), SHORT, 0, CPU).fit()
    whole, ndcg = with_context(
        trained.model, of, source, SHORT, 0, in_context_weights(source, 20, 0)
    )
    model = TrainedModel(whole, Origin(of, source.name, "encoder"), "the model")
    assert 0 < ndcg <= 1
    tables = [model.item_vectors(domain).table for domain in (one, other, target)]
    assert [table is not None for table in tables] == [True, True, False]


# --- cells


def test_a_certificate_says_what_was_seen_in_any_of_the_domains(cycle: Domain) -> None:
    other = dataclasses.replace(cycle_domain("other"), item_ids=[f"o{i}" for i in range(24)])
    target = dataclasses.replace(cycle_domain("target"), item_ids=["o1", *map(str, range(23))])
    card = ModelCard(
        spec("gru4rec", cycle), "cycle+other", "encoder", [], "", {}, [0], [1], [0.0], ""
    )
    source = SourceDomains((cycle, other))
    saw = [saw_of_model(card, source, domain) for domain in (cycle, other, target)]
    assert [found.zero_shot for found in saw] == [False, False, True]
    assert [found.target_interactions_used for found in saw] == [True, True, False]
    assert [found.target_text_seen for found in saw] == [True, True, False]
    assert [found.item_overlap for found in saw] == [1.0, 1.0, pytest.approx(1 / 24)]


def test_the_nearest_source_item_is_of_any_domain(cycle: Domain) -> None:
    other, target = shifted(cycle_domain("other", seed=4), "other"), cycle_domain("t", num_items=30)
    nearest = [
        slice_attributes(SourceDomains(domains), target)["source_similarity"].to_numpy()
        for domains in ((cycle,), (other,), (cycle, other))
    ]
    assert np.array_equal(nearest[2], np.maximum(nearest[0], nearest[1]))


def test_a_target_among_the_sources_is_in_domain() -> None:
    grid = Grid(("IS", "VG", "MI"), ("IS", "IS+VG"), ("sasrec",), ("sem",))
    assert grid.pairs(zero_shot=True) == [("IS", "VG"), ("IS", "MI"), ("IS+VG", "MI")]
    assert grid.pairs(zero_shot=False) == [("IS", "IS"), ("IS+VG", "IS"), ("IS+VG", "VG")]


# --- stages

LEFT_OUT = ("kitchen+office", "garden+office", "garden+kitchen")
MODELS = ("fetch", "preprocess", "encode", "pool", "sources", "backbones", "train", "cluster")


def params_of() -> dict[str, Any]:
    """Leave one domain out, and one domain alone."""
    params = with_value(small_params(), "grid.sources", ["garden", *LEFT_OUT])
    params["grid"]["variants"] = ["recg"]
    for domain in DOMAINS:  # more items than a cell needs to be counted
        params["domains"][domain] |= {"num_items": 140, "num_users": 160}
    return params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "project"
    folder.mkdir()
    run_stages(folder, params_of(), *MODELS, "evaluate", "baselines", "slices", "report")
    shutil.rmtree(folder / WORK)
    return folder


def test_one_domain_at_a_time_is_left_out(project: Path) -> None:
    for source, left in zip(LEFT_OUT, DOMAINS, strict=True):
        for target in DOMAINS:
            name = f"results/ranks/recg/gru4rec/{source}_to_{target}.json"
            certificate = read_sealed_json(project / name, "")
            assert certificate["source"] == source
            assert certificate["saw"]["zero_shot"] == (target == left)


def test_verdicts_count_the_domain_that_was_left_out_alone(project: Path) -> None:
    table = pl.read_csv(project / "results/report/tables/averages_zero_shot.csv")
    (row,) = table.filter(pl.col("Model") == "gru4rec-recg").iter_rows(named=True)
    counted = row["Full against training-free"]
    # Two cells of the model of one domain, and one of each model of two.
    assert sum(map(int, counted.split("/"))) == 5


def test_cells_of_several_domains_are_shown(project: Path) -> None:
    shown = show_results(project / "cells", "full", "ndcg@10", 300)
    heads = [line.split()[1:] for line in shown.splitlines() if line.startswith(("from", "to"))]
    pairs = list(zip(*heads, strict=True))
    assert set(pairs[:5]) == {
        ("garden", "kitchen"), ("garden", "office"), ("kitchen+office", "garden"),
        ("garden+office", "kitchen"), ("garden+kitchen", "office"),
    }  # fmt: skip
    assert len(pairs) == 12


def test_a_bundle_says_on_which_domains_it_was_trained(project: Path) -> None:
    found = load_from_pipeline(project / "models/recg/garden+office/gru4rec")
    assert found.card.trained_on == ("gru4rec as `recg` on the domains garden, office, seed 0")


def test_the_left_out_domain_changes_no_model(project: Path, tmp_path: Path) -> None:
    """Nor is anything of a source listed anew when another domain changes."""
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    path = folder / "data/domains/office/sequences.parquet"
    sequences = SEQUENCES.read(path)
    SEQUENCES.write(sequences[1:].with_columns(pl.col("user_idx") - 1), path)
    shutil.rmtree(folder / "models")
    run_stages(folder, params_of(), "pool", "sources", "train", "cluster")
    for kind in ("data/sources", "models", "patterns"):
        before, after = (bytes_below(place / kind) for place in (project, folder))
        assert before.keys() == after.keys()
        changed = {name for name in before if before[name] != after[name]}
        assert changed
        assert all("office" in name for name in changed)


def test_other_files_than_those_listed_are_refused(project: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    path = folder / "data/domains/office/sequences.parquet"
    SEQUENCES.write(SEQUENCES.read(path)[:-1], path)
    stage = stage_of(params_of(), "train", source="garden+office")
    done = run_command(stage.command, folder)
    assert (done.status, done.stderr) == (
        1,
        "error: data/domains/office/sequences.parquet: is another file than "
        "data/sources/garden+office.json has; run the sources stage\n",
    )


def test_a_damaged_manifest_is_not_listed(project: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    path = folder / "data/embeddings/lsa/garden/manifest.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run_command(stage_of(params_of(), "sources").command, folder)
    assert done.status == 1
    assert "data/embeddings/lsa/garden/manifest.json" in done.stderr


def test_a_source_is_read_in_the_order_of_its_name(project: Path) -> None:
    data = project / "data"
    place = data / "sources" / "kitchen+office.json"
    found = load_source(place, data / "domains", data / "embeddings" / "lsa")
    assert [domain.name for domain in found.domains] == ["kitchen", "office"]
    assert found.name == "kitchen+office"
