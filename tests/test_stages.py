"""Bad input on the command line: status 1, one clear message, nothing half-written."""

import inspect
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from recg_core.backbones import BACKBONES
from recg_core.domains.pool import PoolConfig
from recg_core.domains.preprocess import PreprocessConfig
from recg_core.encoders import ENCODERS
from recg_core.models.variant import (
    GeneralizationConfig,
    IdItemsConfig,
    PatternsConfig,
    TextItemsConfig,
    VariantConfig,
)
from recg_core.raw.readers import READERS
from recg_core.report.cells import Grid
from recg_core.training.config import FusionConfig, TrainConfig
from recg_core.training.generalization.inter import INTER
from recg_core.training.generalization.intra import INTRA
from recg_core.training.losses import LOSSES
from stages import WORK
from tests.project import (
    ROOT,
    SCRATCH,
    Stage,
    bytes_below,
    run_command,
    run_stages,
    small_params,
    stage_of,
    with_value,
    write_params,
)


def keys_of(target: Callable[..., Any], *given: str) -> str:
    """How a message lists the keys of a section that `target` is built from."""
    return str(sorted(set(inspect.signature(target).parameters) - set(given)))


def options_of(target: type, key: str) -> str:
    """How a message lists the values of a key that is a choice."""
    return str(list(get_args(get_type_hints(target)[key])))


FETCHED, PREPROCESSED, CLUSTERED, BACKBONES_WRITTEN = (
    f"no such file; run the {stage} stage"
    for stage in ("fetch", "preprocess", "cluster", "backbones")
)
FETCH = "no such file, though data/raw/garden/source.json names it; fetch again"
UNTRAINED = "models/recg/garden: holds no trained model; run the train stage"
ENCODE = "no such file, so these embeddings are incomplete; re-run the encode stage"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder whose stages have run up to the pool."""
    folder = tmp_path_factory.mktemp("encoded")
    run_stages(
        folder, small_params(), "fetch", "preprocess", "encode", "pool", "sources", "backbones"
    )
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


RECG = "variants.recg"
GRU4REC_KEYS = keys_of(BACKBONES["gru4rec"])
GENERALIZATION = f"{RECG}.generalization"


@pytest.mark.parametrize(
    ("address", "value", "message"),
    [
        (
            "train.patence",
            3,
            f"train: unknown key(s) ['patence']; valid keys are {keys_of(TrainConfig)}",
        ),
        (
            "train.learning_rate",
            "1e-3",
            "train.learning_rate: expected float, got str '1e-3'",
        ),
        ("train.batch_size", 0, "train: batch_size must be above 0"),
        ("train", None, "params.yaml: train: expected a section of keys, got null"),
        # unknown keys at every level of a variant
        (
            f"{RECG}.alhpa",
            0.1,
            f"{RECG}: unknown key(s) ['alhpa']; valid keys are {keys_of(VariantConfig)}",
        ),
        (
            f"{RECG}.items.projection",
            2,
            f"{RECG}.items: unknown key(s) ['projection']; valid keys are "
            f"{keys_of(TextItemsConfig)}",
        ),
        (
            f"{RECG}.loss.margin",
            1.0,
            f"{RECG}.loss: unknown key(s) ['margin']; valid keys are {keys_of(LOSSES['bpr'])}",
        ),
        (
            f"{GENERALIZATION}.gamma",
            1.0,
            f"{GENERALIZATION}: unknown key(s) ['gamma']; valid keys are "
            f"{keys_of(GeneralizationConfig)}",
        ),
        (
            f"{GENERALIZATION}.intra.tau",
            1.0,
            f"{GENERALIZATION}.intra: unknown key(s) ['tau']; valid keys are "
            f"{keys_of(INTRA['isometry'])}",
        ),
        (
            f"{GENERALIZATION}.inter",
            {"kind": "entropy_max", "temperature": 1.0},
            f"{GENERALIZATION}.inter: unknown key(s) ['temperature']; valid keys are "
            f"{keys_of(INTER['entropy_max'])}",
        ),
        (
            f"{RECG}.patterns.k",
            4,
            f"{RECG}.patterns: unknown key(s) ['k']; valid keys are {keys_of(PatternsConfig)}",
        ),
        # parts of a kind that there is not, or of none
        (
            f"{RECG}.items.kind",
            "image",
            f"{RECG}.items.kind: expected one of ['id', 'text'], got str 'image'",
        ),
        (
            f"{RECG}.items",
            {"projections": 2},
            f"{RECG}.items.kind: expected one of ['id', 'text'], got null",
        ),
        (
            f"{RECG}.loss.kind",
            "bprr",
            f"{RECG}.loss.kind: expected one of {sorted(LOSSES)}, got 'bprr'",
        ),
        (
            f"{RECG}.loss",
            {},
            f"{RECG}.loss.kind: expected one of {sorted(LOSSES)}, got None",
        ),
        (
            f"{GENERALIZATION}.intra.kind",
            "spread",
            f"{GENERALIZATION}.intra.kind: expected one of {sorted(INTRA)}, got 'spread'",
        ),
        (
            f"{GENERALIZATION}.intra",
            {},
            f"{GENERALIZATION}.intra.kind: expected one of {sorted(INTRA)}, got None",
        ),
        (
            f"{GENERALIZATION}.inter",
            {"kind": "off"},
            f"{GENERALIZATION}.inter.kind: expected one of {sorted(INTER)}, got 'off'",
        ),
        # parts that are no sections, and values out of range
        (f"{RECG}.loss", "bpr", f"{RECG}.loss: expected a section of keys, got str 'bpr'"),
        (
            f"{GENERALIZATION}.inter",
            False,
            f"{GENERALIZATION}.inter: expected a section of keys or null, got bool False",
        ),
        (
            f"{RECG}.score",
            "cos",
            f"{RECG}.score: expected one of {options_of(VariantConfig, 'score')}, got str 'cos'",
        ),
        (
            f"{RECG}.user",
            None,
            f"{RECG}.user: expected one of {options_of(VariantConfig, 'user')}, got null",
        ),
        (f"{RECG}.items.projections", 3, f"{RECG}.items: projections must be 1 or 2, not 3"),
        (
            f"{GENERALIZATION}.intra",
            {"kind": "entropy", "tau": 0.0},
            f"{GENERALIZATION}.intra: tau must be above 0, got 0.0",
        ),
        (
            f"{GENERALIZATION}.intra",
            {"kind": "entropy"},
            f"{GENERALIZATION}.intra: missing key(s) ['tau']; valid keys are "
            f"{keys_of(INTRA['entropy'])}",
        ),
        (
            f"{GENERALIZATION}.alpha",
            0,
            f"{GENERALIZATION}: alpha and beta must be above 0: leave out what is not wanted",
        ),
        (
            f"{RECG}.patterns.clusters",
            0,
            f"{RECG}.patterns: clusters must be 1 or more and temperature above 0",
        ),
        (
            f"{RECG}.patterns",
            {},
            f"{RECG}.patterns: missing key(s) ['clusters']; valid keys are "
            f"{keys_of(PatternsConfig)}",
        ),
        (
            f"{RECG}.items",
            None,
            f"{RECG}.items: expected a section of kind id or a section of kind text, got null",
        ),
        (
            f"{RECG}.anchor",
            True,
            f"{RECG}.anchor: expected a section with the keys ['counts'] or null, got bool True",
        ),
        (
            f"{RECG}.anchor",
            {"counts": 1},
            f"{RECG}.anchor.counts: expected bool, got int 1",
        ),
        # keys without an effect
        (
            f"{RECG}.items",
            {"kind": "id", "center": True},
            f"{RECG}.items: unknown key(s) ['center']; valid keys are {keys_of(IdItemsConfig)}",
        ),
        (
            f"{RECG}.items",
            {"kind": "id"},
            f"{RECG}: items of kind id know no other domain, so ['generalization', 'patterns'] "
            "cannot be used",
        ),
        (
            f"{RECG}.anchor",
            {"counts": True},
            f"{RECG}: anchor and patterns each decide what is said in other domains: use one",
        ),
        (
            GENERALIZATION,
            {},
            f"{GENERALIZATION}: names neither intra nor inter: leave it out of the variant",
        ),
        (
            GENERALIZATION,
            {"alpha": 30.0, "intra": None},
            f"{GENERALIZATION}: names neither intra nor inter: leave it out of the variant",
        ),
        (
            f"{GENERALIZATION}.beta",
            0.1,
            f"{GENERALIZATION}: beta has no effect without inter",
        ),
        (
            GENERALIZATION,
            {"alpha": 1.0, "beta": 1.0, "inter": {"kind": "centers"}},
            f"{GENERALIZATION}: alpha has no effect without intra where beta is set",
        ),
        (
            f"{GENERALIZATION}.alpha",
            None,
            f"{GENERALIZATION}: alpha is missing: it weighs intra, and Eq. 14 makes beta of it",
        ),
        ("seeds", 0, "params.yaml: seeds: expected a list, got int 0"),
        ("seeds", [0.5], "params.yaml: seeds[0]: expected int, got float 0.5"),
        ("seeds", [], "seeds: expected distinct integers from 0 to 2^31 - 1, got []"),
        ("seeds", [1, 1], "seeds: expected distinct integers from 0 to 2^31 - 1, got [1, 1]"),
        ("seeds", [-1], "seeds: expected distinct integers from 0 to 2^31 - 1, got [-1]"),
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
            "encoder",
            "lsa; rm -r ~",
            "params.yaml: encoder: 'lsa; rm -r ~' is no name; use letters, digits and _",
        ),
        (
            "grid.variants",
            ["$(id)"],
            "params.yaml: grid.variants: '$(id)' is no name; use letters, digits and _",
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
    ("key", "value", "message"),
    [
        ("num_head", 2, f": unknown key(s) ['num_head']; valid keys are {GRU4REC_KEYS}"),
        ("dim", "64", ".dim: expected int, got str '64'"),
        ("dim", 0, ": must be 1 or more: {'dim': 0}"),
    ],
)
def test_a_wrong_row_of_a_backbone_stops_training(
    key: str, value: Any, message: str, project: Path
) -> None:
    params = with_value(small_params(), f"backbones.gru4rec.{key}", value)
    run_stages(project, params, "backbones")
    told = refusal(project, params, stage_of(params, "train"))
    assert told == f"backbones.gru4rec{message}"


@pytest.mark.parametrize(
    ("stage", "address", "value", "message"),
    [
        (
            "fetch",
            "domains.garden.users",
            9,
            f"domains.garden: unknown key(s) ['users']; valid keys are {keys_of(READERS['demo'])}",
        ),
        (
            "fetch",
            "domains.garden.reader",
            "amazon",
            f"domains.garden.reader: expected one of {sorted(READERS)}, got 'amazon'",
        ),
        (
            "preprocess",
            "preprocess.text_rule",
            "titles",
            "preprocess.text_rule: expected one of "
            f"{options_of(PreprocessConfig, 'text_rule')}, got str 'titles'",
        ),
        (
            "encode",
            "encoders.lsa.kind",
            "lda",
            f"encoders.lsa.kind: expected one of {sorted(ENCODERS)}, got 'lda'",
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
            f"pool: unknown key(s) ['max_item']; valid keys are {keys_of(PoolConfig)}",
        ),
        (
            "cluster",
            "patterns.epochs",
            7,
            f"patterns: unknown key(s) ['epochs']; valid keys are {keys_of(FusionConfig)}",
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
            f"grid: unknown key(s) ['target']; valid keys are {keys_of(Grid, 'in_domain_only')}",
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
    assert refusal(project, params, fetch, "--domain", "gardn") == (
        f"params.yaml: no key 'gardn' at domains; valid keys are {domains}"
    )
    misspelt = with_value(params, "grid.backbones", ["sasrecc"])
    assert refusal(project, misspelt, stage_of(params, "backbones")) == (
        f"params.yaml: no key 'sasrecc' at backbones; valid keys are {sorted(params['backbones'])}"
    )


def test_a_backbone_of_that_name_must_exist(project: Path) -> None:
    params = with_value(small_params(), "grid.backbones", ["gru5rec"])
    params["backbones"]["gru5rec"] = params["backbones"]["gru4rec"]
    message = refusal(project, params, stage_of(params, "backbones"))
    # Not the modules that they share.
    assert message == (f"backbones.gru5rec: no module of that name; there are {sorted(BACKBONES)}")


def test_two_domains_are_too_few_for_a_loss_that_compares_three(project: Path) -> None:
    params = with_value(small_params(), "pool.domains", ["garden", "kitchen"])
    params = with_value(params, "grid.variants", ["recg_printed"])
    run_stages(project, params, "pool")
    assert refusal(project, params, stage_of(params, "train")) == (
        "variants.recg_printed: the inter-domain loss compares "
        f"{INTER['entropy_max'].min_domains} domains at least, "
        "but the pool and the source are ['garden', 'kitchen']: add domains to "
        "pool.domains, or leave inter out of the variant"
    )


def test_two_domains_are_enough_for_recg(project: Path) -> None:
    """The paper's base case: a source and one other domain."""
    params = with_value(small_params(), "grid.domains", ["garden", "kitchen"])
    for address in ("pool.domains", "encoders.lsa.fit_domains"):
        params = with_value(params, address, ["garden", "kitchen"])
    run_stages(project, params, "encode", "pool", "sources", "train", "cluster", "evaluate")
    cells = bytes_below(project / "results" / "ranks" / "recg" / "gru4rec")
    assert {"garden_to_garden.json", "garden_to_kitchen.json"} <= cells.keys()


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
    stage = stage_of(params, "encode")
    unbroken = from_nothing(stage, project)
    forget(stage, project)
    done = run_command([*stage.command, "--max-minutes", "0"], project)
    assert done.status == 75
    assert done.stderr.endswith("time ran out; the same command goes on from here\n")
    out = project / stage.options["out"]
    assert not out.exists()
    assert len(list((project / WORK).rglob("*.parquet"))) == 1
    assert run_command(stage.command, project).status == 0
    assert outs_of(stage, project) == unbroken
    assert (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("stage", "missing", "message"),
    [
        ("preprocess", "data/raw/garden/source.json", FETCHED),
        ("preprocess", "data/raw/garden/meta.jsonl.gz", FETCH),
        ("encode", "data/domains/garden/items.parquet", PREPROCESSED),
        ("pool", "data/domains/office/items.parquet", PREPROCESSED),
        ("pool", "data/embeddings/lsa/office/manifest.json", ENCODE),
        ("train", "data/backbones.json", BACKBONES_WRITTEN),
        ("train", "data/domains/garden/items.parquet", PREPROCESSED),
        ("train", "data/domains/garden/sequences.parquet", PREPROCESSED),
        ("train", "data/embeddings/lsa/garden/manifest.json", ENCODE),
        ("train", "data/pool/lsa.safetensors", "no such file; run the pool stage"),
        ("baselines", "data/domains/garden/sequences.parquet", PREPROCESSED),
    ],
)
def test_a_missing_file_is_named(stage: str, missing: str, message: str, project: Path) -> None:
    params = small_params()
    (project / missing).unlink()
    assert refusal(project, params, stage_of(params, stage)) == f"{missing}: {message}"


@pytest.mark.parametrize(
    ("stage", "missing", "message"),
    [
        ("cluster", "models/recg/garden/gru4rec/model.json", UNTRAINED),
        ("evaluate", "models/recg/garden/gru4rec/model.json", UNTRAINED),
        (
            "evaluate",
            "patterns/recg/garden/gru4rec/patterns.json",
            f"patterns/recg/garden/gru4rec/patterns.json: {CLUSTERED}",
        ),
        (
            "evaluate",
            "data/domains/office/sequences.parquet",
            f"data/domains/office/sequences.parquet: {PREPROCESSED}",
        ),
    ],
)
def test_what_a_trained_model_needs_is_named(
    stage: str, missing: str, message: str, trained: Path, tmp_path: Path
) -> None:
    project, params = Path(shutil.copytree(trained, tmp_path / "project")), small_params()
    (project / missing).unlink()
    assert refusal(project, params, stage_of(params, stage)) == message


def test_a_missing_or_damaged_params_file_is_named(tmp_path: Path) -> None:
    command = stage_of(small_params(), "train").command
    done = run_command(command, tmp_path)
    assert (done.status, done.stderr) == (
        1, "error: params.yaml: no such file; run from the project's folder\n",
    )  # fmt: skip
    (tmp_path / "params.yaml").write_text("train: {batch_size: 3\n")
    done = run_command(command, tmp_path)
    assert done.status == 1
    assert re.match(r"error: params.yaml:\d+: not valid YAML: ", done.stderr)
    (tmp_path / "params.yaml").write_text("- train\n")
    done = run_command(command, tmp_path)
    assert (done.status, done.stderr) == (1, "error: params.yaml: expected sections of keys\n")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_model_of_other_embeddings_is_refused(trained: Path, tmp_path: Path) -> None:
    """The encoder's dim was changed and everything but the training run again."""
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    params = with_value(small_params(), "encoders.lsa.dim", 8)
    run_stages(project, params, "encode", "pool", "sources")
    for stage in ("cluster", "evaluate"):
        assert refusal(project, params, stage_of(params, stage)) == (
            "models/recg/garden/gru4rec: trained on embeddings of 16 dimensions, those of garden "
            "have 8; run the train stage again with this encoder"
        )


def test_a_refused_training_leaves_the_earlier_model(trained: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    params = with_value(small_params(), "backbones.gru4rec.dim", "64")
    run_stages(project, params, "backbones")
    assert "models/recg/garden/gru4rec/model.json" in bytes_below(project)
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


def forget(stage: Stage, folder: Path) -> None:
    """Delete what a stage wrote and what it keeps for its next run."""
    delete_outs(stage, folder)
    for place in SCRATCH:
        shutil.rmtree(folder / place, ignore_errors=True)


def delete_outs(stage: Stage, folder: Path) -> None:
    """As DVC does before it runs a stage again."""
    for out in stage.outs:
        shutil.rmtree(folder / out, ignore_errors=True)


def outs_of(stage: Stage, folder: Path) -> dict[str, bytes]:
    """The files of all that a stage writes."""
    return {
        f"{out}/{name}": content
        for out in stage.outs
        for name, content in bytes_below(folder / out).items()
    }


def from_nothing(stage: Stage, folder: Path) -> dict[str, bytes]:
    """What an unbroken run of a stage writes."""
    forget(stage, folder)
    done = run_command(stage.command, folder)
    assert done.status == 0, done.stderr
    return outs_of(stage, folder)


def run_until(
    stage: Stage, folder: Path, function: str, calls: int, number: signal.Signals
) -> tuple[int, str]:
    """Status and messages of a stage that gets a signal when `function` has run `calls` times.

    Args:
        function: of a module, `package.module.function`.
    """
    module, name = function.rsplit(".", 1)
    program = (
        f"import os, runpy, sys, recg_core.training.trainer, {module} as module\n"
        # The state of a training run is usually written every ten seconds.
        "recg_core.training.trainer.SAVE_SECONDS = 0\n"
        f"original, left = module.{name}, {calls}\n"
        "def counted(*args):\n"
        "    global left\n"
        "    original(*args)\n"
        "    left -= 1\n"
        f"    left or os.kill(os.getpid(), {int(number)})\n"
        f"module.{name} = counted\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *stage.command[2:]],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr


INTERRUPTIONS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])


def check_ended(status: int, stderr: str, number: signal.Signals) -> None:
    """Ctrl-C is said; of a kill nothing can be."""
    assert "Traceback" not in stderr
    if number == signal.SIGINT:
        assert status == 130, stderr
        assert "interrupted" in stderr.splitlines()
    else:
        assert status == -number, stderr


@INTERRUPTIONS
def test_interrupted_training_goes_on_to_the_same_bytes_though_dvc_deletes_its_output(
    number: signal.Signals, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = small_params()
    params["train"] |= {"max_epochs": 12, "patience": 12}
    stage = stage_of(params, "train")
    write_params(project, params)
    unbroken = from_nothing(stage, project)
    assert "models/recg/garden/gru4rec/model.json" in unbroken
    forget(stage, project)
    ended = run_until(stage, project, "recg_core.training.trainer.save_progress", 5, number)
    check_ended(*ended, number)
    assert "models/recg/garden/gru4rec/model.json" not in outs_of(stage, project)
    if number == signal.SIGINT:  # a killed process cannot clean up
        assert outs_of(stage, project) == {}
    delete_outs(stage, project)
    with caplog.at_level(logging.INFO):
        assert run_command(stage.command, project).status == 0
    assert "gru4rec garden seed 0 resumes after epoch 5" in caplog.text
    assert "gru4rec garden seed 0 epoch 5 " not in caplog.text
    assert outs_of(stage, project) == unbroken


@INTERRUPTIONS
def test_interrupted_encoding_goes_on_to_the_same_bytes_though_dvc_deletes_its_output(
    number: signal.Signals, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = with_value(small_params(), "encode.rows_per_shard", 5)
    stage = stage_of(params, "encode")
    write_params(project, params)
    unbroken = from_nothing(stage, project)
    assert len(unbroken) == 10 + 1
    forget(stage, project)
    ended = run_until(stage, project, "recg_core.embeddings.encode.write_shard", 4, number)
    check_ended(*ended, number)
    assert outs_of(stage, project) == {}
    kept = len(list((project / WORK).rglob("[!.]*.parquet")))
    assert kept >= 4
    delete_outs(stage, project)
    with caplog.at_level(logging.INFO):
        assert run_command(stage.command, project).status == 0
    assert f"48 items: {48 - 5 * kept} texts to encode" in caplog.text
    assert outs_of(stage, project) == unbroken


def test_what_was_trained_before_is_not_trained_again_when_params_change_back(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor when the output is gone: the state at the end of a run is kept."""
    params = small_params()
    stage = stage_of(params, "train")
    write_params(project, params)
    before = from_nothing(stage, project)
    delete_outs(stage, project)
    with caplog.at_level(logging.INFO):
        assert run_command(stage.command, project).status == 0
    assert "gru4rec garden seed 0 resumes after epoch 2" in caplog.text
    assert " epoch 1 " not in caplog.text
    assert outs_of(stage, project) == before


def test_ctrl_c_ends_all_training_processes_without_a_traceback(project: Path) -> None:
    """A terminal sends it to each of them."""
    params = with_value(small_params(), "seeds", [0, 1, 2])
    params["train"] |= {"max_epochs": 2000, "patience": 2000}
    stage = stage_of(params, "train")
    write_params(project, params)
    process = subprocess.Popen(
        [sys.executable, *stage.command[1:]],
        cwd=project, env=environment(), stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "epoch 3 " not in process.stderr.readline() and process.poll() is None:
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    check_ended(process.returncode, stderr, signal.SIGINT)
    assert outs_of(stage, project) == {}
