"""`dvc.yaml` declares what the stages really read and write: else results go stale unseen."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from recg_core.base.params import Params
from tests.project import (
    DOMAINS,
    ROOT,
    Done,
    Stage,
    bytes_below,
    pipeline,
    read_yaml,
    run_command,
    small_params,
    value_at,
    with_value,
    write_params,
)
from tests.test_layers import imports_of

STAGES = list(read_yaml("dvc.yaml")["stages"])
PACKAGES = (
    "recg_core/backbones",
    "recg_core/encoders",
    "recg_core/raw",
    "recg_core/report",
)  # each one dependency
# Unfinished downloads wait here for the next run; they are no part of any result.
SCRATCH = ".downloads"


@dataclass(frozen=True)
class Run:
    """What a stage did where nothing but its declared inputs exists."""

    stage: Stage
    done: Done
    addresses: list[str]  # of the params that it read
    written: list[str]  # new or changed files


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The small pipeline, each stage in a folder of its own."""
    params = with_value(small_params(), "grid.variants", ["sem", "recg"])
    store = tmp_path_factory.mktemp("store")
    return [
        run_alone(stage, params, store, tmp_path_factory.mktemp(stage.name))
        for stage in pipeline(params)
    ]


def run_alone(stage: Stage, params: dict[str, Any], store: Path, room: Path) -> Run:
    """Run `stage` in `room` with its deps and its declared params; keep its outs in `store`."""
    declared: dict[str, Any] = {}
    for address in stage.params:
        declared = with_value(declared, address, value_at(params, address))
    write_params(room, declared)
    for dep in stage.deps:
        copy(store / dep, room / dep)
    before = bytes_below(room)
    with recorded() as addresses:
        done = run_command(stage.command, room)
    after = bytes_below(room)
    for out in stage.outs:
        copy(room / out, store / out)
    written = [name for name in after if after[name] != before.get(name)]
    return Run(stage, done, addresses, written)


def copy(path: Path, to: Path) -> None:
    """Copy a file or folder, if there is one."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, to, dirs_exist_ok=True)
    elif path.exists():
        shutil.copy2(path, to)


@contextlib.contextmanager
def recorded() -> Iterator[list[str]]:
    """The addresses of all params that are read meanwhile."""
    addresses: list[str] = []
    get = Params.get

    def get_and_note(self: Params, address: str, expected: Any) -> Any:
        addresses.append(address)
        return get(self, address, expected)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Params, "get", get_and_note)
        yield addresses


def below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


def covers(entry: str, address: str) -> bool:
    """Whether the params at `address` belong to a declared entry."""
    return below(address.replace(".", "/"), entry.replace(".", "/"))


def code_of(module: str) -> set[str]:
    """The files of the project that importing `module` can ever load, functions included.

    The two root packages are left out: they hold no code that a result depends on.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = file_of(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        for name in imports_of(ROOT / path):
            # Importing a.b.c runs a.b as well.
            parts = name.split(".")
            waiting += [".".join(parts[:end]) for end in range(2, len(parts) + 1)]
    return found


def file_of(module: str) -> str | None:
    """The file of a module of the project, if there is one."""
    path = module.replace(".", "/")
    candidates = [f"{path}.py", f"{path}/__init__.py"]
    owned = [c for c in candidates if c.startswith(("recg_core/", "stages/"))]
    return next((candidate for candidate in owned if (ROOT / candidate).is_file()), None)


@pytest.mark.parametrize("name", STAGES)
def test_the_code_deps_of_a_stage_are_all_that_its_script_imports(name: str) -> None:
    block = read_yaml("dvc.yaml")["stages"][name]
    imported = {
        next((package for package in PACKAGES if below(path, package)), path)
        for path in code_of(f"stages.{name}")
    }
    declared = [dep for dep in block["deps"] if dep.startswith(("recg_core", "stages"))]
    assert sorted(declared) == sorted(imported)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_with_nothing_but_its_deps_and_params(name: str, runs: list[Run]) -> None:
    for run in runs:
        if run.stage.name == name:
            assert run.done == Done(0, run.done.stderr), run.done.stderr


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_writes_its_outs_and_nothing_else(name: str, runs: list[Run]) -> None:
    for run in runs:
        if run.stage.name == name:
            outs = run.stage.outs
            assert all(any(below(file, out) for out in outs) for file in run.written), run.written
            assert all(any(below(file, out) for file in run.written) for out in outs), run.written


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_no_params_that_it_never_reads(name: str, runs: list[Run]) -> None:
    stages = [run for run in runs if run.stage.name == name]
    for run in stages:
        unread = [
            entry
            for entry in run.stage.params
            if not any(covers(entry, address) for address in run.addresses)
        ]
        assert not unread


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_a_dep_or_an_out(name: str) -> None:
    """Or a folder that holds some, since a list of domains cannot be spelt in `deps`."""
    for stage in pipeline(read_yaml("params.yaml")):
        if stage.name != name:
            continue
        paths = [value for value in stage.options.values() if "/" in value or "." in value]
        assert paths
        for path in paths:
            known = any(below(own, path) or below(path, own) for own in stage.deps + stage.outs)
            assert known or path == SCRATCH, f"{path} of {' '.join(stage.command)}"


@pytest.mark.parametrize("name", STAGES)
def test_every_out_is_named_by_the_command(name: str) -> None:
    for stage in pipeline(read_yaml("params.yaml")):
        if stage.name == name:
            for out in stage.outs:
                assert any(below(out, path) for path in stage.options.values()), out


def test_names_that_a_matrix_takes_have_no_hyphens() -> None:
    """DVC joins them by hyphens, so that a-b with c and a with b-c would be one stage."""
    params = read_yaml("params.yaml")
    rows = [name for key in ("domains", "backbones", "variants") for name in params[key]]
    chosen = [name for names in params["grid"].values() for name in names]
    assert not [name for name in rows + chosen if "-" in name]


def test_everything_in_the_grid_has_its_row() -> None:
    params = read_yaml("params.yaml")
    for key in ("domains", "backbones", "variants"):
        assert set(params["grid"][key]) <= set(params[key])
    assert set(params["grid"]["sources"]) <= set(params["grid"]["domains"])
    assert params["encoder"] in params["encoders"]


def test_outs_of_different_stages_never_overlap() -> None:
    outs = [out for stage in pipeline(read_yaml("params.yaml")) for out in stage.outs]
    assert not [(one, other) for one, other in permutations(outs, 2) if below(one, other)]


@pytest.mark.parametrize("name", ["train", "cluster"])
def test_nothing_that_a_source_model_depends_on_holds_interactions_of_a_target(name: str) -> None:
    for stage in pipeline(read_yaml("params.yaml")):
        if stage.name == name:
            source = stage.item["source"]
            others = [f"data/{kind}/{domain}" for domain in DOMAINS for kind in ("raw", "domains")]
            for other in others:
                if not other.endswith(f"/{source}"):
                    file = f"{other}/sequences.parquet"
                    assert not [dep for dep in stage.deps if below(file, dep)]
