"""The whole pipeline under DVC, in a clone of its own: it runs, rests, and re-runs what it must."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from recg_core.cli.grid import INPUTS
from tests.project import (
    DOMAINS,
    ROOT,
    bytes_below,
    read_yaml,
    small_params,
    with_value,
    write_params,
)

MODELS = ("sem", "recg")
CELLS = [
    f"cells/{protocol}/garden-{target}/gru4rec-{variant}.json"
    for protocol in ("full", "sampled")
    for variant in MODELS
    for target in DOMAINS
]


RESULTS = ("dvc.lock", "cells/", "results/")
TERMINAL = 120  # columns
LOCK_BYTES = 60_000 / 37  # of each stage: 60 kB for the default grid


class Clone:
    """A fresh clone of this working tree, without its results, with a small grid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            # The machine's own settings must not matter.
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_GLOBAL_CONFIG_DIR": str(folder.parent / "dvc-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(folder.parent / "dvc-system"),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith(RESULTS):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        write_params(folder, with_value(small_params(), "grid.variants", list(MODELS)))
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        return self._run(sys.executable, "-m", "dvc", *arguments)

    def recg(self, *arguments: str) -> str:
        return self._run(sys.executable, "-m", "recg_core.cli", *arguments)

    def commit(self) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "--all")
        self.git(
            "-c", "user.name=test", "-c", "user.email=test@example.org",
            "commit", "--quiet", "--message", "state",
        )  # fmt: skip

    def cells(self) -> dict[str, Any]:
        """Every metrics JSON and the summary."""
        folders = [self.folder / "cells", self.folder / "results" / "validation"]
        paths = sorted(path for folder in folders for path in folder.rglob("*.json"))
        return {str(path.relative_to(self.folder)): json.loads(path.read_text()) for path in paths}

    def report(self) -> dict[str, bytes]:
        """Every file that the report stage writes."""
        folders = ("cells", "results/report")
        files = {folder: bytes_below(self.folder / folder) for folder in folders}
        return {
            f"{folder}/{name}": files[folder][name] for folder in files for name in files[folder]
        }

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def ran(output: str) -> list[str]:
    """The stages that DVC says it ran."""
    return sorted(re.findall(r"^Running stage '(.*)':$", output, flags=re.MULTILINE))


def cached(output: str) -> list[str]:
    """The stages whose outputs DVC says it took from its cache."""
    return sorted(re.findall(r"^Stage '(.*)' is cached - ", output, flags=re.MULTILINE))


def leaves(content: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The scalars of nested sections by their address."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        address = f"{above}{key}"
        found |= leaves(value, f"{address}.") if isinstance(value, dict) else {address: value}
    return found


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two metrics files of the same form."""
    before, after = leaves(old), leaves(new)
    assert before.keys() == after.keys()
    return {a: (before[a], after[a]) for a in before if before[a] != after[a]}


def width_at_default(table: str) -> int:
    """The width of DVC's table of these metrics, had their paths the default grid's names."""
    lines = table.splitlines()
    assert set(CELLS) <= {line.split()[0] for line in lines[1:]}
    grid = read_yaml("params.yaml")["grid"]
    longest = max(
        len(f"cells/sampled/{source}-{target}/{backbone}-{variant}.json")
        for source, target, backbone, variant in product(
            grid["sources"], grid["domains"], grid["backbones"], grid["variants"]
        )
    )
    return max(map(len, lines)) - max(len(line.split()[0]) for line in lines) + longest


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a git checkout of the project")
    folder = tmp_path_factory.mktemp("clone") / "project"
    folder.mkdir()
    return Clone(folder)


@pytest.mark.real
def test_the_pipeline_runs_rests_and_reruns_what_a_change_reaches(clone: Clone) -> None:
    """One test, since each step starts where the last one ended and the first takes a minute."""
    # A first run makes every cell and the report.
    output = clone.dvc("repro")
    assert re.findall("Running stage '(.*)':", output)[0] == "check"
    assert ran(output) == sorted(
        [f"{stage}@{domain}" for stage in ("fetch", "preprocess", "encode") for domain in DOMAINS]
        + [f"{stage}@garden-{variant}" for stage in ("train", "cluster") for variant in MODELS]
        + [f"evaluate@{variant}" for variant in MODELS]
        + ["check", "pool", "sources", "backbones", "baselines", "figures", "slices", "report"]
    )
    first, report = clone.cells(), clone.report()
    assert set(CELLS) < first.keys()
    assert b"gru4rec-recg" in report["results/report/report.md"]
    assert "data/" not in clone.git("ls-files", "--others", "--exclude-standard")
    lock = (clone.folder / "dvc.lock").read_text(encoding="utf-8")
    num_stages = len(re.findall(r"^  \S+:$", lock, flags=re.MULTILINE))
    assert num_stages == 3 * len(DOMAINS) + 3 * len(MODELS) + 8
    assert len(lock) <= num_stages * LOCK_BYTES

    # What DVC and `recg` show fits a terminal, and names every cell.
    assert width_at_default(clone.dvc("metrics", "show")) <= TERMINAL
    shown = clone.recg("show")
    assert all(f"\ngru4rec-{variant} " in shown for variant in MODELS)
    assert max(map(len, shown.splitlines())) <= TERMINAL

    # A second run has nothing to do, and a report does not depend on the git revision.
    clone.commit()
    assert ran(clone.dvc("repro")) == []
    assert clone.git("status", "--porcelain") == ""
    clone.dvc("repro", "--single-item", "--force", "report")
    assert clone.report() == report
    assert clone.git("status", "--porcelain") == ""

    # One param of one variant reaches that variant's stages and the report alone.
    output = clone.dvc("exp", "run", "--set-param", "variants.recg.generalization.alpha=2.0")
    assert ran(output) == [
        "check", "cluster@garden-recg", "evaluate@recg", "figures", "report", "train@garden-recg",
    ]  # fmt: skip
    second = clone.cells()
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {
        *(cell for cell in CELLS if "gru4rec-recg" in cell),
        "cells/summary.json",
        "results/validation/recg/garden/gru4rec.json",
    }

    # DVC shows exactly these, each with every number that changed.
    shown_changes = json.loads(clone.dvc("metrics", "diff", "--json"))
    assert {
        name: {address: (row["old"], row["new"]) for address, row in rows.items()}
        for name, rows in shown_changes.items()
    } == {name: changes(first[name], second[name]) for name in changed - {"cells/summary.json"}}

    # So does the project's own comparison, from the ranks in DVC's cache.
    told = clone.recg("compare", "HEAD", "workspace")
    assert f"{len(DOMAINS) + len(DOMAINS) * 14} cell(s) are the same for every user." in told
    assert told.count("| recg/gru4rec/garden_to_") == len(DOMAINS)
    rows = told.splitlines()[2:]

    # Back again, nothing is trained, encoded or evaluated: DVC's cache has what it made before. It
    # never has what the report stage wrote, since that holds a file of git's that is no metric.
    clone.git("checkout", "params.yaml")
    again = clone.dvc("repro")
    assert cached(again) == [
        "check", "cluster@garden-recg", "evaluate@recg", "figures", "train@garden-recg",
    ]  # fmt: skip
    assert ran(again) == ["report"]
    assert clone.report() == report
    assert clone.git("status", "--porcelain") == ""

    # Other cut-offs run the report alone, and every cell is named.
    output = clone.dvc("exp", "run", "--set-param", "report.ks=[1,10]")
    assert ran(output) == ["check", "report"]
    told = clone.dvc("metrics", "diff")
    assert width_at_default(told) <= TERMINAL
    assert re.search(r" recall@1 +- +0\.\d", told)

    # A state that nobody has committed is kept by name and compared with the next.
    clone.dvc("exp", "save", "--name", "before")
    clone.dvc("exp", "run", "--set-param", "variants.recg.generalization.alpha=2.0")
    assert clone.recg("compare", "before", "workspace").splitlines()[2:] == rows


def test_the_pipeline_is_drawn(clone: Clone) -> None:
    """`dvc dag` knows every stage of `dvc.yaml`, and that training follows the pool."""
    drawn = clone.dvc("dag", "--dot")
    assert all(stage in drawn for stage in read_yaml("dvc.yaml")["stages"])
    assert '"pool" -> "train@garden-recg"' in drawn


def test_a_grid_says_what_must_run_before_it(clone: Clone) -> None:
    said = "error: backbones, encode@garden, .* must run before training: `dvc repro pool sources"
    with pytest.raises(AssertionError, match=said):
        clone.recg("grid")


@pytest.mark.real
def test_the_pipeline_after_a_grid_is_that_of_a_serial_run(tmp_path: Path) -> None:
    clones = []
    for name in ("grid", "serial"):
        (tmp_path / name / "project").mkdir(parents=True)
        clones.append(Clone(tmp_path / name / "project"))
        clones[-1].dvc("repro", *INPUTS)
    clones[0].recg("grid")
    for clone in clones:
        clone.dvc("repro")
    of_grid, serial = ((c.folder / "dvc.lock").read_bytes() for c in clones)
    assert of_grid == serial
    assert clones[0].report() == clones[1].report()


@pytest.mark.real
@pytest.mark.parametrize("seconds", [9, 22])
def test_a_killed_run_goes_on_to_the_same_results(seconds: int, tmp_path: Path) -> None:
    """`dvc repro` with all that it started dies at once, wherever it is."""
    clones = []
    for name in ("killed", "calm"):
        (tmp_path / name / "project").mkdir(parents=True)
        clones.append(Clone(tmp_path / name / "project"))
    killed, calm = clones
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=killed.folder, env=killed.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for clone in clones:
        clone.dvc("repro")
    assert killed.report() == calm.report()
    left = [path for path in killed.folder.rglob(".*.tmp") if ".dvc" not in path.parts]
    assert not left
