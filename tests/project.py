"""The project in small: `dvc.yaml` with its names filled in, and stages run by its commands."""

import contextlib
import copy
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages import run

ROOT = Path(__file__).parent.parent
DOMAINS = ("garden", "kitchen", "office")
# Unfinished work waits here for the next run of its stage; it is no part of any result.
SCRATCH = (".downloads", ".work")
KINDS = ("outs", "metrics", "plots")  # of outputs
NAME = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of `dvc.yaml` at one place of its matrix."""

    name: str
    item: dict[str, str]
    command: tuple[str, ...]
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]

    @property
    def options(self) -> dict[str, str]:
        """The options of the command by name, without the dashes."""
        names = [name.removeprefix("--") for name in self.command[3::2]]
        return dict(zip(names, self.command[4::2], strict=True))


def read_yaml(name: str) -> dict[str, Any]:
    """A YAML file of the project's folder."""
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def value_at(values: dict[str, Any], address: str) -> Any:
    """The value at `section.row`."""
    value: Any = values
    for key in address.split("."):
        value = value[key]
    return value


def with_value(values: dict[str, Any], address: str, value: Any) -> dict[str, Any]:
    """A copy of `values` with another value, or a new one, at `address`."""
    changed = copy.deepcopy(values)
    *sections, key = address.split(".")
    section = changed
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return changed


def small_params() -> dict[str, Any]:
    """The project's params, cut down to one source, one small model and two epochs."""
    params = copy.deepcopy(read_yaml("params.yaml"))
    params["domains"] |= {
        domain: {"reader": "demo", "num_users": 150, "num_items": 48, "pattern": 0.9, "seed": seed}
        for seed, domain in enumerate(DOMAINS, start=1)
    }
    params["grid"] = {
        "domains": list(DOMAINS), "sources": ["garden"], "backbones": ["gru4rec"],
        "variants": ["recg"],
    }  # fmt: skip
    params |= {"seeds": [0], "encoder": "lsa"}
    params["encoders"]["lsa"] |= {"dim": 16, "fit_domains": list(DOMAINS)}
    params["pool"]["domains"] = list(DOMAINS)
    params["train"] |= {"batch_size": 32, "max_epochs": 2, "patience": 2, "valid_users": 100}
    params["patterns"]["max_epochs"] = 2
    for row in params["backbones"].values():
        row["dim"] = 16
    for row in params["variants"].values():
        if "patterns" in row:
            row["patterns"]["clusters"] = min(row["patterns"]["clusters"], 4)
    return params


def write_params(folder: Path, params: dict[str, Any]) -> None:
    """Write `params.yaml`."""
    yaml = YAML()
    yaml.default_flow_style = False
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def pipeline(params: dict[str, Any]) -> list[Stage]:
    """All stages of `dvc.yaml` over their matrices, in the order of the file."""
    return [
        _filled(name, block, dict(zip(block.get("matrix", {}), values, strict=True)), params)
        for name, block in read_yaml("dvc.yaml")["stages"].items()
        for values in product(
            *(value_at(params, axis.strip("${}")) for axis in block.get("matrix", {}).values())
        )
    ]


def _filled(
    name: str, block: dict[str, Any], item: dict[str, str], params: dict[str, Any]
) -> Stage:
    values = {**params, "item": item}

    def fill(text: str) -> str:
        return NAME.sub(lambda match: str(value_at(values, match[1])), text)

    # An output is a path, or a path with options.
    outs = [
        fill(path)
        for kind in KINDS
        for entry in block.get(kind, [])
        for path in ([entry] if isinstance(entry, str) else entry)
    ]
    return Stage(
        name,
        item,
        tuple(fill(block["cmd"]).split()),
        tuple(map(fill, block["deps"])),
        tuple(map(fill, block.get("params", []))),
        tuple(outs),
    )


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stderr: str


def run_command(command: tuple[str, ...] | list[str], folder: Path) -> Done:
    """Run `python -m stages.X ...` in `folder`, within this process, where torch is loaded."""
    python, flag, module, *arguments = command
    assert (python, flag) == ("python", "-m")
    main = import_module(module).main
    stderr = io.StringIO()
    status: Any = 0
    with _working_in(folder, [module, *arguments]), contextlib.redirect_stderr(stderr):
        try:
            run(main)
        except SystemExit as end:
            status = end.code or 0
    return Done(status, stderr.getvalue())


@contextlib.contextmanager
def _working_in(folder: Path, argv: list[str]) -> Iterator[None]:
    old = os.getcwd(), sys.argv
    os.chdir(folder)
    sys.argv = argv
    try:
        yield
    finally:
        os.chdir(old[0])
        sys.argv = old[1]


def run_stages(folder: Path, params: dict[str, Any], *names: str) -> None:
    """Write the params and run the named stages, each over its whole matrix."""
    write_params(folder, params)
    for stage in pipeline(params):
        if stage.name in names:
            done = run_command(stage.command, folder)
            assert done.status == 0, f"{' '.join(stage.command)}\n{done.stderr}"


def stage_of(params: dict[str, Any], name: str, **item: str) -> Stage:
    """The stage of that name at that place of its matrix; places left out: the first."""
    return next(
        stage
        for stage in pipeline(params)
        if stage.name == name and item.items() <= stage.item.items()
    )


def bytes_below(folder: Path) -> dict[str, bytes]:
    """The content of every file below `folder` by relative path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
