"""`recg search`: settings drawn from a grid, the best on source validation kept in params.yaml."""

import itertools
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from recg_core.base.errors import UserError
from recg_core.base.files import atomic_path
from recg_core.base.params import Params, read_params
from recg_core.cli.experiments import (
    Experiment,
    has_key,
    plan,
    run_missing,
    set_values,
    setting_text,
    values_to_try,
)
from recg_core.figures.sensitivity import best_by_validation
from recg_core.training.tuned import TUNED

log = logging.getLogger(__name__)

ORDER_SEED = 0  # of the order in which a grid is tried


def search(
    backbone: Annotated[str, typer.Option(help="Row of `backbones`.")] = "bert4rec",
    variant: Annotated[str, typer.Option(help="Row of `variants`.")] = "recg",
    trials: Annotated[int, typer.Option(min=1, help="How many settings of the grid to try.")] = 20,
) -> None:
    """Try settings of the `search` section and keep the best in params.yaml, for this model alone.

    The variant's row gets them below `tuned`, by backbone, where training reads them. Settings
    come in a fixed random order: more trials go on where fewer ended, and what has finished is not
    run again. No target and no test item is looked at, nor ranked at all: an experiment ends with
    the sources' validation items.
    """
    path = Path("params.yaml")
    params = read_params(path)
    done = run_missing(plan_search(params, backbone, variant, trials), "cluster")
    # What the search chose, without the grid that its experiments were cut down to.
    chosen = [
        {key: value for key, value in experiment.values.items() if not key.startswith("grid.")}
        for experiment in done
    ]
    sources = params.get("grid.sources", list[str])
    scores = [validation_scores(e.name, sources, backbone, variant) for e in done]
    trials_by_score = sorted(zip(scores, chosen, strict=True), key=lambda t: sum(t[0].values()))
    for score, values in trials_by_score:
        mean = sum(score.values()) / len(score)
        log.info("%.2f %% %s", 100 * mean, setting_text(values))
    best = chosen[best_by_validation(scores)]
    address = f"variants.{variant}.{TUNED}.{backbone}"
    write_values(path, {address: by_section(best, places_of(backbone, variant))})
    log.info("written to %s, %s: %s", path, address, setting_text(best))


def plan_search(params: Params, backbone: str, variant: str, trials: int) -> list[Experiment]:
    """The first `trials` settings of the grid in its fixed random order.

    Raises:
        UserError: when a row is missing or there is nothing to vary.
    """
    grid = search_grid(params, backbone, variant)
    rows = {"grid.backbones": [backbone], "grid.variants": [variant]}
    values = itertools.product(*grid.values())
    settings = [dict(zip(grid, chosen, strict=True)) | rows for chosen in values]
    random.Random(ORDER_SEED).shuffle(settings)
    # What was found before, for this model or another, must not change what is tried.
    tuned = [f"variants.{name}.{TUNED}" for name in params.section("variants")]
    return plan(params, f"search-{backbone}-{variant}", settings[:trials], tuned)


def places_of(backbone: str, variant: str) -> dict[str, str]:
    """Where the values of each section of `search` stand in `params.yaml`."""
    return {
        "backbone": f"backbones.{backbone}", "train": "train", "variant": f"variants.{variant}",
    }  # fmt: skip


def by_section(values: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Values by address as nested sections, named as in `search`."""
    nested: dict[str, Any] = {}
    for section, place in places.items():
        inside = [address for address in values if address.startswith(f"{place}.")]
        set_values(nested, {section + a.removeprefix(place): values[a] for a in inside})
    return nested


def search_grid(params: Params, backbone: str, variant: str) -> dict[str, list[Any]]:
    """The values to try by address.

    Keys that the rows of the backbone and the variant lack are left out.
    """
    places = places_of(backbone, variant)
    space = params.section("search")
    if unknown := sorted(space.keys() - places.keys()):
        raise UserError(f"{params.path}: search: unknown key(s) {unknown}; valid: {list(places)}")
    grid: dict[str, list[Any]] = {}
    for section in space:
        params.section(places[section])
        for key, values in values_to_try(params, f"search.{section}").items():
            if has_key(params, f"{places[section]}.{key}"):
                grid[f"{places[section]}.{key}"] = values
    if not grid:
        raise UserError(
            f"{params.path}: search: backbones.{backbone} and variants.{variant} have none of its "
            "keys"
        )
    return grid


def validation_scores(
    experiment: str, sources: list[str], backbone: str, variant: str
) -> dict[str, float]:
    """NDCG@10 on the validation items of each source; the only files that are read."""
    # DVC takes half a second to import, which `recg --help` need not wait for.
    from recg_core.cli.revisions import open_revision

    results = open_revision(experiment)
    return {
        source: results.json(f"results/validation/{variant}/{source}/{backbone}.json")["ndcg@10"]
        for source in sources
    }


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Set values of a YAML file by address; comments and order stay."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(path.read_text(encoding="utf-8"))
    set_values(content, values)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


class _Representer(RoundTripRepresenter):
    """Writes nothing as `null`, as people do."""


_Representer.add_representer(
    type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null")
)
