"""A package of `recg_core` imports from those before it alone, heavy libraries where they belong.

`PACKAGES` is the whole map. What a package holds is its own business: a new module, and so a new
backbone, loss, encoder or reader, needs no line here.
"""

import ast
import functools
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# In the order of the data flow; a package imports from those before it.
PACKAGES = (
    "base", "raw", "domains", "encoders", "embeddings", "backbones", "models", "training",
    "evaluation", "figures", "report", "project", "serving", "cli",
)  # fmt: skip

# Which packages import what takes long or is an application's business; no other does, in any
# function.
HEAVY = {
    "torch": "backbones encoders evaluation figures models serving training",
    "transformers": "encoders",
    "peft": "encoders",
    "sentence_transformers": "encoders",
    "huggingface_hub": "encoders",
    "ray": "base",
    "sklearn": "encoders figures serving training",
    "scipy": "evaluation figures models report",
    "matplotlib": "figures",
    "PIL": "figures",
    "requests": "encoders raw",
    "pyarrow": "base domains raw",
    "jinja2": "report",
    "fastapi": "serving",
    "uvicorn": "serving",
    "starlette": "serving",
    "prometheus_client": "serving",
    "ruamel": "base cli",
    "typer": "cli",
    "dvc": "cli",
    "yaml": "",
    "stages": "",
}

# What the start of a script must not wait for, since most live for a second or two, and the scripts
# that use some of it at once.
SLOW = {
    "torch",
    "transformers",
    "sentence_transformers",
    "peft",
    "sklearn",
    "scipy",
    "matplotlib",
    "ray",
    "dvc",
}
NEEDED = {
    "stages.report": "scipy",
    "stages.evaluate": "torch",
    "stages.baselines": "torch",
    "stages.figures": "torch",
    "recg_core.cli.revisions": "dvc",  # which commands load when they are called
}


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of `recg_core` by its full name."""
    found = {}
    for path in sorted((ROOT / "recg_core").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names of what a file imports at any place, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(path: Path) -> set[str]:
    """The modules of `recg_core` that a file imports; importing a part of one counts as that."""
    known = modules()
    names = {name for name in imports_of(path) if name.startswith("recg_core.")}
    return {name if name in known else name.rpartition(".")[0] for name in names}


def package_of(module: str) -> str:
    """`training` of `recg_core.training.losses.bpr`."""
    return module.split(".")[1]


def imported_by(package: str) -> dict[str, frozenset[str]]:
    """What each module of a package imports, by its name."""
    return {
        name: imports_of(path)
        for name, path in modules().items()
        if name.startswith(f"recg_core.{package}.") or name == f"recg_core.{package}"
    }


def starts() -> dict[str, list[str]]:
    """The modules of stages and commands by what they need at once."""
    names = [f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("[!_]*.py"))]
    names += [name for name in imported_by("cli") if not name.endswith("__main__")]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(NEEDED.get(name, "none of them"), []).append(name)
    return groups


def test_every_package_has_its_place_and_every_place_its_package() -> None:
    assert {package_of(name) for name in modules() if name != "recg_core"} == set(PACKAGES)
    assert len(PACKAGES) == len(set(PACKAGES))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_those_before_it(package: str) -> None:
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for name in imported_by(package):
        imported = {package_of(other) for other in own_imports(modules()[name])}
        later = imported - set(allowed)
        assert not later, f"{name} imports from {sorted(later)}, which do not stand before it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Functions included: what stands in a circle cannot be read alone."""
    graph = {name: own_imports(path) for name, path in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {
        package
        for package in PACKAGES
        if library in {n.split(".")[0] for names in imported_by(package).values() for n in names}
    }
    assert users == set(HEAVY[library].split())


def test_the_package_itself_loads_nothing() -> None:
    program = "import sys, recg_core; print([n for n in sys.modules if n.startswith('recg_core.')])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("needed", starts())
def test_a_command_starts_without_the_libraries_that_it_need_not_wait_for(needed: str) -> None:
    """What its import really loads: a start must not take seconds for nothing."""
    scripts = starts()[needed]
    program = (
        f"import sys; from importlib import import_module\nfor name in {scripts}:\n"
        "    import_module(name)\n"
        "    print(name, *{n.split('.')[0] for n in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, *_ in lines] == scripts
    for name, *loaded in lines:
        assert not SLOW & set(loaded) - {needed}, name


@pytest.mark.parametrize("module", ["stages.train", "recg_core.cli.app"])
def test_idle_threads_of_a_command_do_not_spin(module: str) -> None:
    """Which must be settled before torch is imported."""
    program = (
        f"import os, sys, {module}; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    without = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=without, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "PASSIVE False\n"
