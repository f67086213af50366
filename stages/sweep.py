"""`recg sweep`: one setting of a variant over the values of `params.yaml`, as Figure 2."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.errors import UserError
from recg_core.figures.draw import draw_lines, write_figure
from recg_core.figures.sensitivity import (
    Measured,
    describe_sensitivity,
    read_measured,
    sensitivity_panels,
)
from stages.common import Params, read_params
from stages.experiments import Experiment, plan, read_metrics, run_missing

log = logging.getLogger(__name__)

FIGURES = Path("results/figures/sweep")


def sweep(
    key: Annotated[str, typer.Argument(help="Key of `sweep` in params.yaml, such as alpha.")],
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
    model = f"{backbone}-{variant}"
    values = [float(experiment.values[f"variants.{variant}.{key}"]) for experiment in done]
    measured = [
        measure(params, experiment, value, model)
        for experiment, value in zip(done, values, strict=True)
    ]
    figure = describe_sensitivity(key, model, measured)
    name = f"{key}_{backbone}_{variant}"
    write_figure(FIGURES, name, figure, draw_lines(sensitivity_panels(key, measured)))
    log.info("%s", figure.caption)
    log.info("drawn from %d of %d values: %s", len(done), len(experiments), FIGURES / f"{name}.png")


def plan_sweep(params: Params, key: str, backbone: str, variant: str) -> list[Experiment]:
    """The experiment of every value of `sweep.<key>`.

    Raises:
        UserError: when there is no such key, row or value, or the variant does not use the key.
    """
    values = params.get(f"sweep.{key}", list[float])
    if not values or len(set(values)) < len(values):
        raise UserError(f"{params.path}: sweep.{key}: expected different values, got {values}")
    address = f"variants.{variant}.{key}"
    params.section(f"backbones.{backbone}")
    if not params.get(address, float):
        raise UserError(f"{params.path}: {address} is 0: {variant} does not use it")
    plain = params.values["sweep"][key]  # integers stay integers
    grid = {"grid.backbones": [backbone], "grid.variants": [variant]}
    prefix = f"sweep-{key}-{backbone}-{variant}"
    return plan(params, prefix, [{address: value, **grid} for value in plain])


def measure(params: Params, experiment: Experiment, value: float, model: str) -> Measured:
    """The metrics of a finished experiment of `model`."""
    sources = params.get("grid.sources", list[str])
    domains = params.get("grid.domains", list[str])
    validation = [f"results/validation/{model}/{source}.json" for source in sources]
    cells = [
        f"results/metrics/{model}/{source}/{source}_to_{target}.json"
        for source in sources
        for target in domains
        if target != source
    ]
    found = read_metrics(experiment, [*validation, *cells])
    return read_measured(value, found[: len(validation)], found[len(validation) :])
