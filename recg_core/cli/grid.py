"""`recg grid`: train all models of params.yaml at once with Ray; `dvc repro` then has them."""

import functools
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json
from recg_core.base.params import Params, read_params
from recg_core.cli.running import WORK
from recg_core.domains.pool import load_pool
from recg_core.domains.source_domains import load_source
from recg_core.training.grid import train_grid
from recg_core.training.plan import Plan, plan_variant

log = logging.getLogger(__name__)

INPUTS = ("pool", "sources", "backbones")  # stages whose outputs the train stage reads


def grid(
    gpus_per_model: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of a GPU; 0.125 where Ray has any."),
    ] = None,
) -> None:
    """Train every source, variant, backbone and seed of params.yaml as a task of Ray.

    On this machine, or on the cluster that the variable RAY_ADDRESS names. What has been trained
    before is not trained again, and `dvc repro` takes from .work/ what this command trained.
    """
    # Imported here: the other commands need not wait for torch.
    from recg_core.project.check import check_params

    params = read_params(Path("params.yaml"))
    check_params(params)
    plans = planned(params, train_commands())
    trained = train_grid(plans, gpus_per_model)
    total = sum(len(plan.runs) for plan in plans)
    log.info("%d models are trained, %d of them now; `dvc repro` goes on from here", total, trained)


def train_commands() -> list[str]:
    """The command of the train stage at every place of its matrix.

    Raises:
        UserError: when this is no project of DVC, or a stage before them has to run.
    """
    # DVC takes half a second to import.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            stale = repo.status(targets=list(INPUTS), with_deps=True)
            stages = [] if stale else repo.stage.collect("train")
    except DvcException as error:
        raise UserError(f"dvc: {error}; run from the project's folder") from error
    if stale:
        raise UserError(
            f"{', '.join(sorted(stale))} must run before training: `dvc repro {' '.join(INPUTS)}`"
        )
    return [stage.cmd for stage in stages]


def planned(params: Params, commands: Sequence[str]) -> list[Plan]:
    """What each command of the train stage would train, from the files that it would read.

    Plans of the same source, and all that need the pool, share one copy of it.
    """
    source_at, pool_at = functools.cache(load_source), functools.cache(load_pool)
    plans = []
    for command in commands:
        _, _, _, *arguments = shlex.split(command)
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        source = (options[name] for name in ("--source", "--domains", "--embeddings"))
        plans.append(
            plan_variant(
                params,
                options["--variant"],
                read_sealed_json(Path(options["--rows"]), "run the backbones stage"),
                source_at(*map(Path, source)),
                pool_at(Path(options["--pool"])),
                WORK.resolve(),
            )
        )
    return plans
