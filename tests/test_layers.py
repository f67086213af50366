"""A module of `recg_core` imports from lower levels only, heavy packages where they belong.

`LAYERS` is the whole map: a new module has to be given its place here.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up; a module imports only from the lines above its own. A package stands above the
# modules that its `__init__` gathers.
LAYERS = (
    # alone: numbers, text and tensors
    "raw report errors metrics kcore batches splits item_space raw.spill raw.textclean losses",
    # strict configuration and files
    "config files folders raw.blocks",
    # tables and other file formats
    "schema shards raw.rejects download raw.formats checkpoints results figures",
    # raw records
    "raw.source raw.catalogue",
    "raw.interactions",
    # building raw.blocks of models, and the encoders
    "backbones.base backbones.transformer encoders.base encoders.text encoders.hub",
    "backbones.gru4rec backbones.sasrec backbones.bert4rec encoders.forward encoders.decoder "
    "encoders.loading",
    "encoders.selftest",
    "backbones encoders.lsa encoders.transformer encoders.llm2vec",
    "encoders encoders.workers encoders.catalogue encoders.reuse",
    "encoders.encode",
    "encoders.estimate",
    # data and models in memory
    "data pool preprocess ranks statistics",
    "domain evaluation sensitivity per_user",
    "neighbors",
    "anchor",
    "model",
    # methods
    "training patterns baselines slices compare",
    # whole folders
    "seeds cells analysis",
    "embedding_figures",
    # the report
    "report.layout report.published",
    "report.tables report.curves report.figures report.page",
    "report.summary report.heatmap",
    "report.build",
)
LEVELS = {name: level for level, line in enumerate(LAYERS) for name in line.split()}

# Who may import what takes long or is an application's business; nobody else does, in any function.
HEAVY = {
    "torch": "losses checkpoints model evaluation neighbors anchor training patterns baselines "
    "seeds cells embedding_figures "
    "backbones.base backbones.transformer backbones.gru4rec backbones.sasrec backbones.bert4rec "
    "encoders.forward encoders.decoder encoders.loading encoders.selftest",
    "transformers": "encoders.forward encoders.decoder encoders.loading encoders.selftest "
    "encoders.transformer encoders.llm2vec",
    "peft": "encoders.loading",
    "ray": "encoders.workers",
    "huggingface_hub": "encoders.hub",
    "sklearn": "encoders.lsa patterns item_space",
    "scipy": "item_space sensitivity statistics",
    "matplotlib": "figures",
    "requests": "download",
    "pyarrow": "shards raw.spill raw.formats preprocess",
    "jinja2": "report.page",
    "typer": "",
    "dvc": "",
    "ruamel": "",
    "yaml": "",
    "stages": "",
}


def modules() -> dict[str, Path]:
    """Every module below `recg_core` by its name without that prefix."""
    found = {}
    for path in sorted((ROOT / "recg_core").rglob("*.py")):
        parts = path.relative_to(ROOT / "recg_core").with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    del found[""]
    return found


def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports at any place, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The modules of `recg_core` that a file imports; importing a part of one counts as that."""
    names = {name.removeprefix("recg_core.") for name in imports_of(path)}
    return names & modules().keys()


def test_every_module_has_its_place_and_every_place_its_module() -> None:
    assert sorted(LEVELS) == sorted(modules())


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_lower_levels(name: str) -> None:
    imported = own_imports(modules()[name])
    too_high = {other for other in imported if LEVELS[other] >= LEVELS[name]}
    assert not too_high, f"{name} imports {sorted(too_high)}, which do not stand below it"


@pytest.mark.parametrize("package", HEAVY)
def test_a_heavy_package_is_imported_only_where_it_belongs(package: str) -> None:
    users = {
        name
        for name, path in modules().items()
        if package in {imported.split(".")[0] for imported in imports_of(path)}
    }
    assert users == set(HEAVY[package].split())


def test_the_package_itself_imports_nothing() -> None:
    assert imports_of(ROOT / "recg_core" / "__init__.py") == set()


def test_stages_without_a_model_start_without_the_libraries_of_models() -> None:
    """What their import really loads: a start of a stage must not take seconds for nothing."""
    program = (
        "import sys; from importlib import import_module\n"
        "for name in ('fetch', 'preprocess', 'encode', 'pool', 'report'):\n"
        "    import_module('stages.' + name)\n"
        "    print(name, *{n.split('.')[0] for n in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        stage, *loaded = line.split()
        heavy = {"torch", "transformers", "peft", "sklearn", "scipy", "dvc"} & set(loaded)
        if stage == "report":  # its statistics are scipy's
            heavy -= {"scipy"}
        assert not heavy, f"stages.{stage} loads {sorted(heavy)}"
    assert len(done.stdout.splitlines()) == 5
