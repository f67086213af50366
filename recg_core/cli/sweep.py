"""`recg sweep`: one setting of a variant over the values of `params.yaml`, as Figure 2."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.errors import UserError
from recg_core.base.params import Params, read_params
from recg_core.base.sources import in_domain
from recg_core.cli.experiments import Experiment, has_key, plan, run_missing, values_to_try
from recg_core.figures.draw import draw_lines, write_image
from recg_core.figures.sensitivity import (
    Measured,
    describe_sensitivity,
    measure_value,
    sensitivity_panels,
)
from recg_core.training.tuned import TUNED

log = logging.getLogger(__name__)

FIGURES = Path("results/figures/sweep")


def sweep(
    key: Annotated[str, typer.Argument(help="As in `sweep` of params.yaml: patterns.clusters.")],
    backbone: Annotated[str, typer.Option(help="Row of `backbones`.")] = "bert4rec",
    variant: Annotated[str, typer.Option(help="Row of `variants`.")] = "recg",
) -> None:
    """Run an experiment for each value of KEY and draw results/figures/sweep.

    What has finished before is not run again, and what has finished is drawn. The value that the
    caption names is chosen on the sources' validation items; test results are shown, not used.
    """
    params = read_params(Path("params.yaml"))
    experiments = plan_sweep(params, key, backbone, variant)
    done = run_missing(experiments, "evaluate")
    place = swept_address(params, key, backbone, variant)
    measured = [measure(params, e.name, e.values[place], backbone, variant) for e in done]
    image = describe_sensitivity(key, f"{backbone}-{variant}", measured)
    name = f"{_plain(key)}_{backbone}_{variant}"
    write_image(FIGURES, name, image, draw_lines(sensitivity_panels(key, measured)))
    log.info("%s", image.caption)
    log.info("drawn from %d of %d values: %s", len(done), len(experiments), FIGURES / f"{name}.png")


def plan_sweep(params: Params, key: str, backbone: str, variant: str) -> list[Experiment]:
    """The experiment of every value of `sweep.<key>`.

    Raises:
        UserError: when there is no such key, row or value, or the variant does not have the key.
    """
    keys = values_to_try(params, "sweep")
    if key not in keys:
        raise UserError(f"{params.path}: sweep: no key '{key}'; valid keys are {sorted(keys)}")
    params.section(f"backbones.{backbone}")
    row = f"variants.{variant}"
    params.section(row)
    if not has_key(params, f"{row}.{key}"):
        valid = sorted(other for other in keys if has_key(params, f"{row}.{other}"))
        raise UserError(f"{params.path}: {row} has no {key}; of the keys of sweep it has {valid}")
    values = params.get(f"sweep.{key}", list[float])
    if len(set(values)) < len(values):
        raise UserError(f"{params.path}: sweep.{key}: expected different values, got {values}")
    grid = {"grid.backbones": [backbone], "grid.variants": [variant]}
    # As they are in the file: integers stay integers.
    place = swept_address(params, key, backbone, variant)
    settings = [{place: value, **grid} for value in keys[key]]
    return plan(params, f"sweep-{_plain(key)}-{backbone}-{variant}", settings)


def swept_address(params: Params, key: str, backbone: str, variant: str) -> str:
    """Where a model has the key of its variant: what a search found for it goes before the row."""
    tuned = f"variants.{variant}.{TUNED}.{backbone}.variant.{key}"
    return tuned if has_key(params, tuned) else f"variants.{variant}.{key}"


def measure(params: Params, experiment: str, value: float, backbone: str, variant: str) -> Measured:
    """The results of a finished experiment, from git and DVC's cache."""
    # DVC takes half a second to import.
    from recg_core.cli.revisions import open_revision

    results = open_revision(experiment)
    sources = params.get("grid.sources", list[str])
    domains = params.get("grid.domains", list[str])
    valid = {
        source: results.sealed_json(f"patterns/{variant}/{source}/{backbone}/patterns.json")[
            "valid_ndcg"
        ]
        for source in sources
    }
    ranks = {
        (source, target): results.ranks(f"{variant}/{backbone}/{source}_to_{target}")
        for source in sources
        for target in domains
        if not in_domain(source, target)
    }
    return measure_value(float(value), valid, ranks)


def _plain(key: str) -> str:
    """The key as a part of a name."""
    return key.replace(".", "_")
