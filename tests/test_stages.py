"""Bad input on the command line: status 1, one clear message, nothing half-written."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.project import (
    ROOT,
    Stage,
    bytes_below,
    run_command,
    run_stages,
    small_params,
    stage_of,
    with_value,
    write_params,
)

KEYS_OF_TRAIN = (
    "['batch_size', 'domain_sample', 'learning_rate', 'max_epochs', 'negatives', 'patience', "
    "'threads', 'valid_users']"
)
KEYS_OF_VARIANT = (
    "['alpha', 'anchor', 'beta', 'clusters', 'inter', 'intra', 'items', 'loss', "
    "'pattern_temperature', 'projections', 'score', 'tau', 'user']"
)
RUN = "no such file; run the stage that writes it"
FETCH = "no such file, though data/raw/garden/source.json names it; fetch again"
ENCODE = "no such file, so these embeddings are incomplete; re-run the encode stage"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder whose stages have run up to the pool."""
    folder = tmp_path_factory.mktemp("encoded")
    run_stages(folder, small_params(), "fetch", "preprocess", "encode", "pool")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, encoded: Path) -> Path:
    """A project folder whose model is trained and clustered."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(encoded, folder)
    run_stages(folder, small_params(), "train", "cluster")
    return folder


@pytest.fixture
def project(encoded: Path, tmp_path: Path) -> Path:
    """A copy of `encoded` for one test."""
    return Path(shutil.copytree(encoded, tmp_path / "project"))


def refusal(folder: Path, params: dict[str, Any], stage: Stage, *options: str) -> str:
    """The message with which a stage refuses; it must leave every file as it was."""
    write_params(folder, params)
    before = bytes_below(folder)
    done = run_command([*stage.command, *options], folder)
    assert done.status == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert bytes_below(folder) == before
    return done.stderr.removeprefix("error: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("address", "value", "message"),
    [
        (
            "train.patence",
            3,
            f"train: unknown key(s) ['patence']; valid keys are {KEYS_OF_TRAIN}",
        ),
        (
            "train.learning_rate",
            "1e-3",
            "train.learning_rate: expected float, got str '1e-3'",
        ),
        ("train.batch_size", 0, "train: batch_size must be above 0"),
        ("train", None, "params.yaml: train: expected dict, got null"),
        (
            "variants.recg.alhpa",
            0.1,
            f"variants.recg: unknown key(s) ['alhpa']; valid keys are {KEYS_OF_VARIANT}",
        ),
        (
            "variants.recg.inter",
            False,
            "variants.recg.inter: expected one of ['entropy_max', 'entropy_min', 'centers', "
            "'centered', 'off'], got bool False",
        ),
        ("variants.recg.projections", 3, "variants.recg: projections must be 1 or 2, not 3"),
        (
            "backbones.gru4rec.num_head",
            2,
            "backbones.gru4rec: unknown key(s) ['num_head']; valid keys are "
            "['dim', 'dropout', 'max_length', 'num_layers']",
        ),
        ("backbones.gru4rec.dim", "64", "backbones.gru4rec.dim: expected int, got str '64'"),
        ("seeds", 0, "params.yaml: seeds: expected a list, got int 0"),
        ("seeds", [0.5], "params.yaml: seeds[0]: expected int, got float 0.5"),
        ("seeds", [], "seeds: expected distinct integers from 0 to 2^31 - 1, got []"),
        ("seeds", [1, 1], "seeds: expected distinct integers from 0 to 2^31 - 1, got [1, 1]"),
        ("seeds", [-1], "seeds: expected distinct integers from 0 to 2^31 - 1, got [-1]"),
        ("backbones.gru4rec.dim", 0, "backbones.gru4rec: must be 1 or more: {'dim': 0}"),
        (
            "grid.domains",
            ["garden", "garden"],
            "params.yaml: grid.domains: expected different names, at least one, "
            "got ['garden', 'garden']",
        ),
        (
            "grid.domains",
            ["my-garden"],
            "params.yaml: grid.domains: 'my-garden' is no name; use letters, digits and _",
        ),
        (
            "encoders",
            None,
            "params.yaml: no key 'lsa' at encoders; valid keys are []",
        ),
        (
            "encoders.lsa.fit_domains",
            ["garden", "attic"],
            "params.yaml: encoders.lsa.fit_domains: ['attic'] not in grid.domains, which are "
            "['garden', 'kitchen', 'office']",
        ),
        (
            "pool.domains",
            ["garden", "attic"],
            "params.yaml: pool.domains: ['attic'] not in grid.domains, which are "
            "['garden', 'kitchen', 'office']",
        ),
    ],
)
def test_a_wrong_param_stops_training(
    address: str, value: Any, message: str, project: Path
) -> None:
    params = small_params()
    stage = stage_of(params, "train")
    assert refusal(project, with_value(params, address, value), stage) == message


@pytest.mark.parametrize(
    ("stage", "address", "value", "message"),
    [
        (
            "fetch",
            "domains.garden.users",
            9,
            "domains.garden: unknown key(s) ['users']; valid keys are "
            "['num_items', 'num_users', 'pattern', 'seed']",
        ),
        (
            "fetch",
            "domains.garden.reader",
            "amazon",
            "domains.garden.reader: expected one of ['amazon2023', 'demo', 'table'], got 'amazon'",
        ),
        (
            "preprocess",
            "preprocess.text_rule",
            "titles",
            "preprocess.text_rule: expected one of ['features_or_description', 'title', 'any'], "
            "got str 'titles'",
        ),
        (
            "encode",
            "encoders.lsa.kind",
            "lda",
            "encoders.lsa.kind: expected one of ['llm2vec', 'lsa', 'transformer'], got 'lda'",
        ),
        (
            "encode",
            "encode.rows_per_shard",
            None,
            "encode.rows_per_shard: expected int, got null",
        ),
        (
            "pool",
            "pool.max_item",
            7,
            "pool: unknown key(s) ['max_item']; valid keys are ['domains', 'max_items', 'seed']",
        ),
        (
            "cluster",
            "patterns.epochs",
            7,
            "patterns: unknown key(s) ['epochs']; valid keys are "
            "['batch_size', 'learning_rate', 'max_epochs', 'negatives', 'patience']",
        ),
        (
            "baselines",
            "baselines.decay",
            2.0,
            "baselines: decay must be above 0 and at most 1, got 2.0",
        ),
        (
            "report",
            "grid.target",
            "IS",
            "grid: unknown key(s) ['target']; valid keys are "
            "['backbones', 'domains', 'sources', 'variants']",
        ),
    ],
)
def test_a_wrong_param_stops_its_stage(
    stage: str, address: str, value: Any, message: str, project: Path
) -> None:
    params = small_params()
    chosen = stage_of(params, stage)
    assert refusal(project, with_value(params, address, value), chosen) == message


def test_a_misspelt_name_is_answered_with_the_valid_ones(project: Path) -> None:
    params = small_params()
    train, fetch = stage_of(params, "train"), stage_of(params, "fetch")
    variants, domains = sorted(params["variants"]), sorted(params["domains"])
    assert refusal(project, params, train, "--variant", "recgg") == (
        f"params.yaml: no key 'recgg' at variants; valid keys are {variants}"
    )
    assert refusal(project, params, train, "--backbone", "sasrecc") == (
        f"params.yaml: no key 'sasrecc' at backbones; valid keys are {sorted(params['backbones'])}"
    )
    assert refusal(project, params, fetch, "--domain", "gardn") == (
        f"params.yaml: no key 'gardn' at domains; valid keys are {domains}"
    )


def test_a_backbone_of_that_name_must_exist(project: Path) -> None:
    params = small_params()
    params["backbones"]["gru5rec"] = params["backbones"]["gru4rec"]
    stage = stage_of(params, "train")
    assert refusal(project, params, stage, "--backbone", "gru5rec") == (
        "unknown backbone 'gru5rec'; valid ones are ['bert4rec', 'gru4rec', 'sasrec']"
    )


def test_two_domains_are_too_few_for_the_inter_domain_loss(project: Path) -> None:
    params = with_value(small_params(), "pool.domains", ["garden", "kitchen"])
    run_stages(project, params, "pool")
    assert refusal(project, params, stage_of(params, "train")) == (
        "the inter-domain loss compares an item with at least two other domains, but the pool and "
        "the source are ['garden', 'kitchen']: add domains to pool.domains, or set inter: off in "
        "the variant"
    )


def test_a_plan_of_encoding_is_printed_and_nothing_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bytes_below(project)
    stage = stage_of(small_params(), "encode")
    done = run_command([*stage.command, "--plan"], project)
    assert (done.status, bytes_below(project)) == (0, before)
    assert "in 1 shards, 0 to write" in capsys.readouterr().out


def test_encoding_that_runs_out_of_time_says_so_and_goes_on(project: Path) -> None:
    params = with_value(small_params(), "encode.rows_per_shard", 20)
    write_params(project, params)
    folder = project / "data" / "embeddings" / "lsa" / "garden"
    shutil.rmtree(folder)
    stage = stage_of(params, "encode")
    done = run_command([*stage.command, "--max-minutes", "0"], project)
    assert done.status == 75
    assert done.stderr.endswith("time ran out; the same command goes on from here\n")
    assert len(list(folder.iterdir())) == 1
    assert run_command(stage.command, project).status == 0
    assert (folder / "manifest.json").exists()


@pytest.mark.parametrize(
    ("stage", "missing", "message"),
    [
        ("preprocess", "data/raw/garden/source.json", RUN),
        ("preprocess", "data/raw/garden/meta.jsonl.gz", FETCH),
        ("encode", "data/domains/garden/items.parquet", RUN),
        ("pool", "data/domains/office/items.parquet", RUN),
        ("pool", "data/embeddings/lsa/office/manifest.json", ENCODE),
        ("train", "data/domains/garden/items.parquet", RUN),
        ("train", "data/domains/garden/sequences.parquet", RUN),
        ("train", "data/embeddings/lsa/garden/manifest.json", ENCODE),
        ("train", "data/pool/lsa.safetensors", "no such file; run the pool stage"),
        ("baselines", "data/domains/garden/sequences.parquet", RUN),
    ],
)
def test_a_missing_file_is_named(stage: str, missing: str, message: str, project: Path) -> None:
    params = small_params()
    (project / missing).unlink()
    assert refusal(project, params, stage_of(params, stage)) == f"{missing}: {message}"


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("cluster", "models/gru4rec/recg/garden/model.json"),
        ("evaluate", "models/gru4rec/recg/garden/model.json"),
        ("evaluate", "patterns/gru4rec/recg/garden/patterns.json"),
        ("evaluate", "data/domains/office/sequences.parquet"),
    ],
)
def test_what_a_trained_model_needs_is_named(
    stage: str, missing: str, trained: Path, tmp_path: Path
) -> None:
    project, params = Path(shutil.copytree(trained, tmp_path / "project")), small_params()
    (project / missing).unlink()
    assert refusal(project, params, stage_of(params, stage)) == f"{missing}: {RUN}"


def test_a_missing_or_damaged_params_file_is_named(tmp_path: Path) -> None:
    command = stage_of(small_params(), "train").command
    done = run_command(command, tmp_path)
    assert (done.status, done.stderr) == (
        1, "error: params.yaml: no such file; run from the project's folder\n",
    )  # fmt: skip
    (tmp_path / "params.yaml").write_text("train: {batch_size: 3\n")
    done = run_command(command, tmp_path)
    assert done.status == 1
    assert done.stderr.startswith("error: params.yaml: not valid YAML: ")
    (tmp_path / "params.yaml").write_text("- train\n")
    done = run_command(command, tmp_path)
    assert (done.status, done.stderr) == (1, "error: params.yaml: expected sections of keys\n")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_model_of_other_embeddings_is_refused(trained: Path, tmp_path: Path) -> None:
    """The encoder's dim was changed and everything but the training run again."""
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    params = with_value(small_params(), "encoders.lsa.dim", 8)
    run_stages(project, params, "encode", "pool")
    for stage in ("cluster", "evaluate"):
        assert refusal(project, params, stage_of(params, stage)) == (
            "models/gru4rec/recg/garden: trained on embeddings of 16 dimensions, those of garden "
            "have 8; run the train stage again with this encoder"
        )


def test_a_refused_training_leaves_the_earlier_model(trained: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    params = with_value(small_params(), "backbones.gru4rec.dim", "64")
    message = refusal(project, params, stage_of(params, "train"))
    assert message == "backbones.gru4rec.dim: expected int, got str '64'"


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_a_process_ends_with_status_1_and_the_message_alone(project: Path) -> None:
    params = with_value(small_params(), "preprocess.k_core", "5")
    write_params(project, params)
    command = [sys.executable, *stage_of(params, "preprocess").command[1:]]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: preprocess.k_core: expected int, got str '5'\n"


def test_an_unknown_option_shows_the_usage(project: Path) -> None:
    stage = stage_of(small_params(), "pool")
    done = run_command([*stage.command, "--outt", "x"], project)
    assert done.status == 2
    assert "No such option: --outt" in done.stderr


def test_ctrl_c_in_training_is_said_and_a_second_run_goes_on_to_the_same_bytes(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = small_params()
    params["train"] |= {"max_epochs": 60, "patience": 60}
    stage = stage_of(params, "train")
    write_params(project, params)
    model = project / stage.options["out"]
    unfinished = model / "unfinished" / "seed-0.safetensors"

    # The state of a run is usually written every ten seconds.
    program = (
        "import sys, runpy, recg_core.training.trainer\n"
        "recg_core.training.trainer.SAVE_SECONDS = 0\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *stage.command[2:]],
        cwd=project, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not unfinished.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.endswith("\ninterrupted\n")
    assert "Traceback" not in stderr
    assert [path.name for path in model.iterdir()] == ["unfinished"]

    with caplog.at_level(logging.INFO):
        assert run_command(stage.command, project).status == 0
    assert "gru4rec garden seed 0 resumes after epoch" in caplog.text
    resumed = bytes_below(model)
    shutil.rmtree(model)
    assert run_command(stage.command, project).status == 0
    assert resumed == bytes_below(model)
    assert "model.json" in resumed
