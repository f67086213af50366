"""Reading `params.yaml`: strict, by address."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from recg_core.base.access import reading
from recg_core.base.config import T, build, convert
from recg_core.base.errors import UserError
from recg_core.base.sources import domains_of, source_name

MAX_DEPTH = 100  # of sections and lists in each other


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`, read by address (`section.row`)."""

    values: dict[str, Any]
    path: Path

    def get(self, address: str, expected: Any) -> Any:
        """The value at `address`, checked against the type `expected`.

        Raises:
            UserError: when there is no such key (the valid ones are named) or its type is wrong.
        """
        value: Any = self.values
        keys = address.split(".")
        for depth, key in enumerate(keys):
            if not isinstance(value, dict) or key not in value:
                place = ".".join(keys[:depth]) or "the top level"
                valid = sorted(value) if isinstance(value, dict) else []
                raise UserError(f"{self.path}: no key '{key}' at {place}; valid keys are {valid}")
            value = value[key]
        return convert(value, expected, f"{self.path}: {address}")

    def section(self, address: str) -> dict[str, Any]:
        """The section at `address` as a plain dictionary."""
        return self.get(address, dict)

    def build(self, target: Callable[..., T], address: str, **given: Any) -> T:
        """What `target` makes of the section at `address`; see `recg_core.base.config.build`."""
        return build(target, self.section(address), address, **given)


def read_params(path: Path) -> Params:
    """Read `params.yaml` as YAML 1.2 (`1e-3` is a number).

    Raises:
        UserError: when the file is missing, cannot be read, or is no YAML.
    """
    with reading(path, "run from the project's folder"):
        text = path.read_text(encoding="utf-8")
    try:
        _check_depth(path, text)
        values = YAML(typ="safe").load(text)
    except YAMLError as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        # Not the error's own words, which quote parts of a line that may hold a password.
        place = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise UserError(f"{place}: not valid YAML: {problem or 'it cannot be read'}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected sections of keys")
    params = Params(values, path)
    if "encoder" in values:
        check_name(params.get("encoder", str), f"{path}: encoder")
    if "grid" in values:
        _check_grid(params)
    return params


def check_name(name: str, place: str) -> None:
    """Refuse a name that may not stand in a command, a path or a stage's name.

    Names of domains, encoders, backbones and variants do: `dvc.yaml` fills them in.

    Raises:
        UserError: naming the place.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name == "none":
        raise UserError(f"{place}: '{name}' is no name; use letters, digits and _")


def _check_depth(path: Path, text: str) -> None:
    """Refuse what would overflow the stack of the parser, which is written in C and crashes."""
    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1
            raise UserError(f"{path}:{line}: sections and lists more than {MAX_DEPTH} deep")


def _check_grid(params: Params) -> None:
    """Refuse a grid that would fail, or mix in old outputs, only after hours of training.

    DVC makes stage names of the grid's names, and `a-b` with `c` would be one with `a` and `b-c`.
    """
    grid = {
        key: params.get(f"grid.{key}", list[str])
        for key in ("domains", "sources", "backbones", "variants")
        if key in params.section("grid")
    }
    for key, names in grid.items():
        place = f"{params.path}: grid.{key}"
        if not names or len(set(names)) < len(names):
            raise UserError(f"{place}: expected different names, at least one, got {names}")
        for name in names:
            for part in domains_of(name) if key == "sources" else (name,):
                check_name(part, place)
    sources = [domains_of(name) for name in grid.get("sources", ())]
    _check_sources(sources, f"{params.path}: grid.sources")
    named = {"grid.sources": [domain for domains in sources for domain in domains]}
    if "pool" in params.values:
        named["pool.domains"] = params.get("pool.domains", list[str])
    if {"encoder", "encoders"} <= params.values.keys():
        encoder = f"encoders.{params.get('encoder', str)}"
        if "fit_domains" in params.section(encoder):
            named[f"{encoder}.fit_domains"] = params.get(f"{encoder}.fit_domains", list[str])
    for address, domains in named.items() if "domains" in grid else ():
        if outside := sorted(set(domains) - set(grid["domains"])):
            raise UserError(
                f"{params.path}: {address}: {outside} not in grid.domains, which are "
                f"{grid['domains']}"
            )


def _check_sources(sources: Sequence[Sequence[str]], place: str) -> None:
    """Refuse a source that names a domain twice, and two sources of the same domains."""
    seen: dict[frozenset[str], str] = {}
    for domains in sources:
        name = source_name(domains)
        if len(set(domains)) < len(domains):
            raise UserError(f"{place}: '{name}' names a domain twice")
        if (other := seen.setdefault(frozenset(domains), name)) != name:
            raise UserError(f"{place}: '{name}' and '{other}' are the same domains; keep one")
