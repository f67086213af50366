"""Sweeps and searches as DVC experiments, in a small project whose best settings are known."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recg_core.base.errors import UserError
from recg_core.base.params import Params, read_params
from recg_core.cli.app import main
from recg_core.cli.compare import main as compare
from recg_core.cli.experiments import check_committed, command, finished, plan
from recg_core.cli.revisions import open_revision
from recg_core.cli.search import plan_search, search, search_grid, write_values
from recg_core.cli.sweep import plan_sweep, sweep

PARAMS = """\
# What runs.
grid:
  domains: [garden, office]
  sources: [garden]
  backbones: [gru4rec]   # the default
  variants: [sem]
backbones:
  gru4rec: {dim: 8, dropout: 0.1}
variants:
  sem: {items: {kind: text}, patterns: null}
  recg:
    items: {kind: text}
    generalization:
      alpha: 0.5    # weight, Eq. 13
      intra: {kind: "off"}  # quoted, or YAML 1.1 reads false
    patterns: {clusters: 20}
train:
  learning_rate: 1e-3
sweep:
  generalization:
    alpha: [0.1, 0.01, 7.0]
    intra: {tau: [0.5, 1.0]}
  patterns: {clusters: [5, 10]}
search:
  backbone: {dim: [8, 16], num_heads: [1, 2]}
  train: {learning_rate: [0.001]}
  variant: {generalization: {alpha: [0.1, 0.01]}}
"""
# Few settings, since an experiment takes seconds.
FEW = PARAMS.replace("[0.1, 0.01, 7.0]", "[0.1, 7.0]").replace("dim: [8, 16], ", "")
# Validation is best at alpha 0.01, the test at 0.1; 7.0 fails. Every run is noted.
STEP = """\
import json, os, pathlib, sys
import numpy as np
from recg_core.base.files import write_sealed_json
from recg_core.base.schema import RANKS
from recg_core.models.ranking.ranks import SeedRanks
from ruamel.yaml import YAML

params = YAML(typ="safe", pure=True).load(pathlib.Path("params.yaml").read_text())
(backbone,), (variant,) = params["grid"]["backbones"], params["grid"]["variants"]
row = params["variants"][variant]
alpha, dim = row["generalization"]["alpha"], params["backbones"][backbone]["dim"]
with open(os.environ["RUNS"], "a") as runs:
    runs.write(f"{sys.argv[1]} {alpha} {dim}\\n")
if alpha > 5:
    sys.exit("diverged")


def write(path, content):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


if sys.argv[1] == "cluster":
    valid = 0.5 - alpha + dim / 1000
    write(f"results/validation/{variant}/garden/{backbone}.json", {"ndcg@10": valid})
    patterns = {"valid_ndcg": [valid - 0.01, valid + 0.01]}
    place = pathlib.Path(f"patterns/{variant}/garden/{backbone}/patterns.json")
    write_sealed_json(place, patterns)
else:
    # As many of ten users find their item first as alpha has tenths, by both seeds.
    higher = np.where(np.arange(10) < 10 * alpha, 0, 90).astype(np.int32)
    ranks = SeedRanks(
        np.arange(10, dtype=np.int32), np.arange(2, dtype=np.int32),
        np.full(10, 100, dtype=np.int32), np.stack([higher, higher], axis=1),
        np.zeros((10, 2), dtype=np.int32),
    )
    place = pathlib.Path(f"results/ranks/{variant}/{backbone}/garden_to_office.parquet")
    RANKS.write(ranks.to_frame(), place)
    write(place.with_suffix(".json"), {})
"""
DVC = """\
stages:
  cluster:
    cmd: python step.py cluster
    deps: [step.py]
    params: [grid, variants, backbones, train]
    outs: [patterns]
    metrics: [results/validation: {cache: false}]
  evaluate:
    cmd: python step.py evaluate
    deps: [patterns]
    params: [grid, variants]
    outs: [results/ranks]
"""


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project, the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.org")
    git("init", "--quiet")
    subprocess.run(["dvc", "init", "--quiet"], check=True)
    for name, content in (("params.yaml", FEW), ("step.py", STEP), ("dvc.yaml", DVC)):
        Path(name).write_text(content)
    git("add", "--all")
    git("commit", "--quiet", "-m", "A project")
    return folder


def runs_of(project: Path) -> list[str]:
    return (project.parent / "runs").read_text().splitlines()


def params_of(folder: Path, content: str = PARAMS) -> Params:
    (folder / "params.yaml").write_text(content)
    return read_params(folder / "params.yaml")


def test_a_sweep_draws_what_finished_and_runs_nothing_twice(project: Path) -> None:
    sweep("generalization.alpha", backbone="gru4rec", variant="recg")
    assert runs_of(project) == ["cluster 0.1 8", "evaluate 0.1 8", "cluster 7.0 8"]
    drawn = Path("results/figures/sweep/generalization_alpha_gru4rec_recg.json")
    image = json.loads(drawn.read_text())
    # Two seeds at .398 and .418: t of one degree of freedom at 97.5 % is 12.706.
    half = round(100 * 12.706 * 0.01, 2)
    found = [40.8, half, *[10.0, 0.0] * 4]  # 99 others: 100 negatives are all of them
    assert image["rows"] == [[0.1, "garden", "office", *found]]
    assert drawn.with_name(image["image"]).read_bytes().startswith(b"\x89PNG")
    assert Path("params.yaml").read_text() == FEW

    sweep("generalization.alpha", backbone="gru4rec", variant="recg")
    assert runs_of(project)[3:] == ["cluster 7.0 8"]  # what failed, and nothing else


def test_ranks_of_a_revision_are_found_by_cell_and_missing_ones_are_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate beside the ranks is no cell."""
    sweep("generalization.alpha", backbone="gru4rec", variant="recg")
    (name,) = finished()
    results = open_revision(name)
    assert results.cells() == ["recg/gru4rec/garden_to_office"]
    assert results.ranks("recg/gru4rec/garden_to_office").num_higher.shape == (10, 2)
    validation = results.json("results/validation/recg/garden/gru4rec.json")
    assert validation == {"ndcg@10": pytest.approx(0.408)}
    compare(name, name)
    assert "1 cell(s) are the same for every user." in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"none\.json of '{name}': not in git, DVC's cache"):
        results.json("results/none.json")
    with pytest.raises(UserError, match=r"revision 'HEAD' has no ranks below results/ranks"):
        open_revision("HEAD").cells()
    with pytest.raises(UserError, match=r"revision 'nowhere': .*expected a commit, branch"):
        open_revision("nowhere")


def test_a_search_keeps_the_best_on_validation_and_goes_on(project: Path) -> None:
    """The test items, which would prefer 0.1, are not even ranked."""
    search(backbone="gru4rec", variant="recg", trials=1)
    first = runs_of(project)
    assert len(first) == 1
    search(backbone="gru4rec", variant="recg", trials=2)
    assert runs_of(project)[:1] == first
    assert sorted(runs_of(project)) == ["cluster 0.01 8", "cluster 0.1 8"]
    written = Path("params.yaml").read_text()
    params = read_params(Path("params.yaml"))
    assert params.get("variants.recg.generalization.alpha", float) == 0.5  # of other backbones
    assert params.section("variants.recg.tuned") == {
        "gru4rec": {
            "train": {"learning_rate": 0.001},
            "variant": {"generalization": {"alpha": 0.01}},
        }
    }
    comments = [line.split("#")[1] for line in FEW.splitlines() if "#" in line]
    assert [line.split("#")[1] for line in written.splitlines() if "#" in line] == comments
    # What is found changes neither what is tried next nor what has been.
    search(backbone="gru4rec", variant="recg", trials=2)
    assert sorted(runs_of(project)) == ["cluster 0.01 8", "cluster 0.1 8"]
    assert Path("params.yaml").read_text() == written


def test_code_that_differs_from_the_commit_is_refused(project: Path) -> None:
    Path("params.yaml").write_text(FEW + "\n")
    check_committed()
    Path("dvc.yaml").write_text(DVC + "\n")
    with pytest.raises(UserError, match=r"differ from it: dvc\.yaml; commit or stash"):
        check_committed()
    assert finished() == set()


def test_the_command_line_reports_a_mistake_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["recg", "sweep", "generalization.alpha"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    expected = "error: params.yaml: no such file; run from the project's folder\n"
    assert capsys.readouterr().err == expected


def test_a_name_is_of_all_params_that_the_experiment_runs_with(tmp_path: Path) -> None:
    def name(content: str, alpha: float = 0.1) -> str:
        setting = {"variants.recg.generalization.alpha": alpha}
        return plan(params_of(tmp_path, content), "sweep", [setting])[0].name

    same = name(PARAMS)
    assert name(PARAMS.replace("alpha: 0.5", "alpha: 0.4")) == same  # overwritten
    assert name(PARAMS.replace("[0.1, 0.01, 7.0]", "[0.1]")) == same  # a plan is no setting
    assert name(PARAMS, alpha=0.2) != same
    assert name(PARAMS.replace("1e-3", "1e-4")) != same


def test_an_address_that_is_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no key 'gamma' at variants\.recg"):
        plan(params_of(tmp_path), "sweep", [{"variants.recg.gamma": 1.0}])


def test_a_command_sets_every_value_and_leaves_the_workspace(tmp_path: Path) -> None:
    experiment = plan_sweep(params_of(tmp_path), "patterns.clusters", "gru4rec", "recg")[1]
    assert experiment.name.startswith("sweep-patterns_clusters-gru4rec-recg-")
    assert command(experiment, "evaluate") == [
        "dvc", "exp", "run", "--temp", "--name", experiment.name,
        "--set-param", "variants.recg.patterns.clusters=10",
        "--set-param", 'grid.backbones=["gru4rec"]',
        "--set-param", 'grid.variants=["recg"]',
        "evaluate",
    ]  # fmt: skip


def test_a_key_that_the_variant_lacks_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    params = params_of(tmp_path)
    has = r"of the keys of sweep it has \['generalization\.alpha', 'patterns\.clusters'\]"
    with pytest.raises(
        UserError, match=rf"variants\.recg has no generalization\.intra\.tau; {has}"
    ):
        plan_sweep(params, "generalization.intra.tau", "gru4rec", "recg")
    for key in ("generalization.alpha", "patterns.clusters"):  # one part absent, one null
        with pytest.raises(UserError, match=rf"variants\.sem has no {key}; .* it has \[\]"):
            plan_sweep(params, key, "gru4rec", "sem")
    valid = r"\['generalization\.alpha', 'generalization\.intra\.tau', 'patterns\.clusters'\]"
    with pytest.raises(UserError, match=rf"sweep: no key 'alpha'; valid keys are {valid}"):
        plan_sweep(params, "alpha", "gru4rec", "recg")
    with pytest.raises(UserError, match=r"no key 'lstm' at backbones"):
        plan_sweep(params, "patterns.clusters", "lstm", "recg")


def test_values_to_try_are_different_numbers(tmp_path: Path) -> None:
    for wrong, expected in (
        ("[5, 5]", r"sweep\.patterns\.clusters: expected different values"),
        ("[]", r"sweep\.patterns\.clusters: expected a list of values to try, got \[\]"),
        ("5", r"sweep\.patterns\.clusters: expected a list of values to try, got 5"),
        ("[few, many]", r"sweep\.patterns\.clusters\[0\]: expected float"),
    ):
        params = params_of(tmp_path, PARAMS.replace("[5, 10]", wrong))
        with pytest.raises(UserError, match=expected):
            plan_sweep(params, "patterns.clusters", "gru4rec", "recg")


def test_a_search_varies_what_the_model_has(tmp_path: Path) -> None:
    """GRU4Rec has no heads; `sem` has no generalization loss to weigh."""
    params = params_of(tmp_path)
    both = {"backbones.gru4rec.dim": [8, 16], "train.learning_rate": [0.001]}
    assert search_grid(params, "gru4rec", "sem") == both
    alpha = {"variants.recg.generalization.alpha": [0.1, 0.01]}
    assert search_grid(params, "gru4rec", "recg") == both | alpha


TUNED = """\
    patterns: {clusters: 20}
    tuned: {gru4rec: {variant: {generalization: {alpha: 0.3}}}}
"""


def test_a_search_is_blind_to_what_was_found_before(tmp_path: Path) -> None:
    plain, tuned = (
        plan_search(params_of(tmp_path, content), "gru4rec", "recg", 3)
        for content in (PARAMS, PARAMS.replace("    patterns: {clusters: 20}\n", TUNED))
    )
    assert [e.name for e in tuned] == [e.name for e in plain]
    assert "--set-param ~variants.recg.tuned" in " ".join(command(tuned[0], "cluster"))
    assert "~" not in " ".join(command(plain[0], "cluster"))


def test_a_sweep_varies_the_value_that_the_model_has(tmp_path: Path) -> None:
    """Where a search has set alpha for one backbone, the row's own would have no effect there."""
    params = params_of(tmp_path, PARAMS.replace("    patterns: {clusters: 20}\n", TUNED))
    row = "variants.recg"
    for backbone, key, place in (
        ("gru4rec", "generalization.alpha", f"{row}.tuned.gru4rec.variant.generalization.alpha"),
        ("gru4rec", "patterns.clusters", f"{row}.patterns.clusters"),
    ):
        experiments = plan_sweep(params, key, backbone, "recg")
        assert [next(iter(e.values)) for e in experiments] == [place] * len(experiments)


def test_a_search_for_nothing_is_refused(tmp_path: Path) -> None:
    keys = "  backbone: {dim: [8, 16], num_heads: [1, 2]}\n  train: {learning_rate: [0.001]}\n"
    params = params_of(tmp_path, PARAMS.replace(keys, ""))
    with pytest.raises(UserError, match=r"search: .*variants\.sem have none of its keys"):
        search_grid(params, "gru4rec", "sem")


def test_more_trials_begin_with_the_same_settings(tmp_path: Path) -> None:
    params = params_of(tmp_path)
    names = [[e.name for e in plan_search(params, "gru4rec", "recg", n)] for n in (2, 3, 99)]
    assert names[0] == names[1][:2] == names[2][:2]
    assert len(set(names[2])) == len(names[2]) == 4  # the whole grid, each setting once


def test_an_unknown_section_of_the_search_is_refused(tmp_path: Path) -> None:
    params = params_of(tmp_path, PARAMS.replace("  backbone: {dim", "  encoder: {dim"))
    with pytest.raises(UserError, match=r"search: unknown key\(s\) \['encoder'\]"):
        search_grid(params, "gru4rec", "recg")


def test_written_values_leave_everything_else_as_it_was(tmp_path: Path) -> None:
    """On the project's own params: only the two lines change."""
    path = tmp_path / "params.yaml"
    before = (Path(__file__).parent.parent / "params.yaml").read_text()
    path.write_text(before)
    values: dict[str, Any] = {
        "variants.recg.generalization.alpha": 0.025,
        "train.learning_rate": 0.0005,
    }
    write_values(path, values)
    after = path.read_text()
    changed = [
        (old.strip(), new.strip())
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert changed == [
        ("alpha: 30.0", "alpha: 0.025"), ("learning_rate: 0.006", "learning_rate: 0.0005"),
    ]  # fmt: skip
