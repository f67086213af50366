"""`dvc.yaml` declares what the stages really read and write: else results go stale unseen."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from recg_core.backbones import BACKBONES
from recg_core.base.files import read_sealed_json
from recg_core.base.params import Params
from recg_core.base.sources import domains_of
from recg_core.models import backbone_code
from recg_core.training import plan
from tests.project import (
    DOMAINS,
    KINDS,
    NAME,
    ROOT,
    SCRATCH,
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
from tests.test_layers import imports_of, modules, own_imports

STAGES = list(read_yaml("dvc.yaml")["stages"])
CODE = ("recg_core", "stages")
# A dep of the stage `backbones` alone. What training takes of this code is in data/backbones.json,
# digests of the code of the grid's backbones, and goes on into model.json: all later stages see a
# change of that code as changed data.
BACKBONES_CODE = "recg_core/backbones"
# Holds lists of files with their digests: what depends on a list depends on those files, of which
# `deps` could not name several.
SOURCES = "data/sources"
OF_A_SOURCE = ("train", "cluster")


@dataclass(frozen=True)
class Run:
    """What a stage did where nothing but its declared inputs exists."""

    stage: Stage
    done: Done
    addresses: list[str]  # of the params that it read
    written: list[str]  # new or changed files, without unfinished work


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The small pipeline, each stage in a folder of its own."""
    params = with_value(small_params(), "grid.variants", ["sem", "recg"])
    params = with_value(params, "grid.sources", ["garden", "garden+office"])
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
    if "params.yaml" in stage.deps:
        declared = params
    write_params(room, declared)
    for dep in stage.deps:
        if dep != "params.yaml":
            copy(store / dep, room / dep)
        if stage.name in OF_A_SOURCE and below(dep, SOURCES):
            for name in files_of_source(room / dep):
                copy(store / name, room / name)
    before = bytes_below(room)
    with recorded() as addresses:
        done = run_command(stage.command, room)
    after = bytes_below(room)
    for out in stage.outs:
        copy(room / out, store / out)
    written = [
        name
        for name in after
        if after[name] != before.get(name) and not any(below(name, place) for place in SCRATCH)
    ]
    return Run(stage, done, addresses, written)


def files_of_source(path: Path) -> list[str]:
    """The files and folders of data that the list of a source has digests of."""
    domains = read_sealed_json(path, "")["files"]
    tables = ("items.parquet", "sequences.parquet")
    return [f"data/domains/{domain}/{table}" for domain in domains for table in tables] + [
        f"data/embeddings/lsa/{domain}" for domain in domains
    ]


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
    owned = [c for c in candidates if c.split("/")[0] in CODE]
    return next((candidate for candidate in owned if (ROOT / candidate).is_file()), None)


def dep_of(path: str) -> str:
    """How `deps` name a file of the project: a package of `recg_core` as a whole."""
    root, name, *_ = path.split("/")
    return f"{root}/{name}" if root == "recg_core" else path


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_the_code_deps_of_a_stage_are_all_that_its_script_imports(name: str) -> None:
    """`check` decides nothing that a result depends on, and reads the settings of all code."""
    block = read_yaml("dvc.yaml")["stages"][name]
    expected = {dep_of(path) for path in code_of(f"stages.{name}")} - {BACKBONES_CODE}
    if name == "backbones":  # which reads that code and imports none
        expected.add(BACKBONES_CODE)
    declared = [dep for dep in block["deps"] if dep.split("/")[0] in CODE]
    assert sorted(declared) == sorted(expected)


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("recg_core/backbones/new.py", {"backbones"}),
        ("recg_core/encoders/new.py", {"encode"}),
        ("recg_core/figures/new.py", {"figures"}),
        ("recg_core/report/new.py", {"report"}),
        ("recg_core/training/losses/new.py", {"train", "cluster"}),
    ],
)
def test_a_new_file_makes_only_those_stages_stale_whose_code_it_may_be(
    file: str, stages: set[str]
) -> None:
    blocks = read_yaml("dvc.yaml")["stages"]
    reached = {name for name in STAGES if any(below(file, dep) for dep in blocks[name]["deps"])}
    assert reached == stages


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code of the backbones that the stage `backbones` reads in its place."""
    folder = Path(shutil.copytree(ROOT / BACKBONES_CODE, tmp_path / "code"))
    monkeypatch.setattr(backbone_code, "FOLDER", folder)
    return folder


def written_by_backbones(params: dict[str, Any], folder: Path) -> bytes:
    """What the stage `backbones` writes for these params."""
    folder.mkdir(exist_ok=True)
    write_params(folder, params)
    (stage,) = (stage for stage in pipeline(params) if stage.name == "backbones")
    done = run_command(stage.command, folder)
    assert done.status == 0, done.stderr
    return (folder / stage.outs[0]).read_bytes()


def test_a_new_backbone_changes_nothing_that_training_depends_on(
    code: Path, tmp_path: Path
) -> None:
    """Neither its code nor its row, as long as the grid does not have it."""
    params = small_params()
    before = written_by_backbones(params, tmp_path / "project")
    (code / "newrec.py").write_text("from recg_core.backbones.transformer import Encoder\n")
    (code / "__init__.py").write_text((code / "__init__.py").read_text() + "# newrec\n")
    params = with_value(params, "backbones.newrec", {"dim": 16})
    assert written_by_backbones(params, tmp_path / "project") == before
    params = with_value(params, "grid.backbones", ["gru4rec", "newrec"])
    both = written_by_backbones(params, tmp_path / "project")
    assert set(read_sealed_json(tmp_path / "project" / "data" / "backbones.json", "")) == {
        "gru4rec", "newrec",
    }  # fmt: skip
    assert both != before


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_changed_module_changes_what_training_takes_of_the_backbones_that_import_it(
    backbone: str, code: Path, tmp_path: Path
) -> None:
    params = with_value(small_params(), "grid.backbones", [backbone])
    before = written_by_backbones(params, tmp_path / "project")
    own = modules_of_backbone(backbone)
    assert {backbone, "base"} <= own
    for path in sorted(code.glob("[!_]*.py")):
        content = path.read_text(encoding="utf-8")
        path.write_text(content + "# changed\n", encoding="utf-8")
        after = written_by_backbones(params, tmp_path / "project")
        assert (after != before) == (path.stem in own), path.name
        path.write_text(content, encoding="utf-8")


def modules_of_backbone(name: str) -> set[str]:
    """The modules of `recg_core.backbones` that a backbone's module imports, and itself.

    What it uses of other packages must be a dep of training itself.
    """
    package = "recg_core.backbones."
    deps = read_yaml("dvc.yaml")["stages"]["train"]["deps"]
    found: set[str] = set()
    waiting = [f"{package}{name}"]
    while waiting:
        module = waiting.pop()
        if module.startswith(package) and module not in found:
            found.add(module)
            waiting += own_imports(modules()[module])
        path = str(file_of(module))
        assert module in found or any(below(path, dep) for dep in deps), f"{name} uses {module}"
    return {module.removeprefix(package) for module in found}


def test_a_kept_state_of_training_is_of_the_code_that_the_stage_depends_on() -> None:
    """Else a change would re-run the stage, which would then go on from before the change."""
    deps = {dep for dep in read_yaml("dvc.yaml")["stages"]["train"]["deps"] if below(dep, CODE[0])}
    # `base` reads and writes, and decides nothing that is learned.
    assert {f"{CODE[0]}/{package}" for package in plan.CODE} == deps - {"recg_core/base"}


def test_training_depends_on_the_backbones_by_their_digests() -> None:
    for stage in pipeline(read_yaml("params.yaml")):
        assert ("data/backbones.json" in stage.deps) == (stage.name == "train")


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
    params = read_yaml("params.yaml")
    for stage in pipeline(params):
        if stage.name != name:
            continue
        paths = [value for value in stage.options.values() if "/" in value or "." in value]
        assert paths
        for path in paths:
            places = [*stage.deps, *stage.outs]
            if name in OF_A_SOURCE:
                places += ["data/domains/garden", f"data/embeddings/{params['encoder']}/garden"]
            known = any(below(own, path) or below(path, own) for own in places)
            assert known, f"{path} of {' '.join(stage.command)}"


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
    for source in params["grid"]["sources"]:
        assert set(domains_of(source)) <= set(params["grid"]["domains"])
    assert params["encoder"] in params["encoders"]


def test_outs_of_different_stages_never_overlap() -> None:
    outs = [out for stage in pipeline(read_yaml("params.yaml")) for out in stage.outs]
    assert not [(one, other) for one, other in permutations(outs, 2) if below(one, other)]


def test_no_out_stays_when_its_stage_runs_again() -> None:
    """So that DVC takes from its run cache what was made before; see `SCRATCH` for the rest."""
    for block in read_yaml("dvc.yaml")["stages"].values():
        entries = [entry for kind in KINDS for entry in block.get(kind, [])]
        options = [option for e in entries if isinstance(e, dict) for option in e.values()]
        assert not [option for option in options if "persist" in option]


def test_metrics_are_those_of_the_cells_and_of_the_validation() -> None:
    """Whatever else is a number would bury them in `dvc metrics show`."""
    metrics = {
        path
        for block in read_yaml("dvc.yaml")["stages"].values()
        for entry in block.get("metrics", [])
        for path in ([entry] if isinstance(entry, str) else entry)
    }
    assert metrics == {
        "cells/full",
        "cells/sampled",
        "results/validation/${item.variant}/${item.source}",
    }


@pytest.mark.parametrize("name", OF_A_SOURCE)
def test_nothing_that_a_source_model_depends_on_holds_interactions_of_a_target(
    name: str, runs: list[Run]
) -> None:
    """Its list of files names those of its domains; `runs` gave it these alone."""
    stages = [run.stage for run in runs if run.stage.name == name]
    assert {stage.item["source"] for stage in stages} == {"garden", "garden+office"}
    files = [f"data/{kind}/{d}/sequences.parquet" for d in DOMAINS for kind in ("raw", "domains")]
    for stage in stages:
        assert not [(file, dep) for file in files for dep in stage.deps if below(file, dep)]
        assert f"{SOURCES}/{stage.item['source']}.json" in stage.deps


def test_every_name_that_a_command_is_filled_with_is_checked() -> None:
    """A shell reads the commands: only what `read_params` holds to letters, digits and _ is in."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    axes = {axis for block in read_yaml("dvc.yaml")["stages"].values() for axis in
            block.get("matrix", {}).values()}  # fmt: skip
    assert axes == {"${grid.domains}", "${grid.sources}", "${grid.variants}"}
    named = {name for name in NAME.findall(text) if not name.startswith(("grid.", "item."))}
    assert named == {"encoder"}
