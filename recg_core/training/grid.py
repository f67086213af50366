"""Training the runs of many plans at once with Ray, on any number of GPUs and machines.

What comes of a run is its state, where `train_models` finds it and has nothing left to train.
"""

import socket
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from tqdm import tqdm

from recg_core.base.access import machine_error
from recg_core.base.errors import UserError
from recg_core.base.files import write_bytes
from recg_core.base.ray_tasks import run_on_ray, started_ray
from recg_core.domains.source_domains import SourceDomains
from recg_core.training.plan import Plan, Run
from recg_core.training.train import fit_run

SHARE = 0.125  # of a GPU, by default: eight models train on it at once


def train_grid(plans: Sequence[Plan], gpus: float | None = None) -> int:
    """Train the runs that have not ended; how many there were.

    Args:
        plans: of the same threads a run.
        gpus: what each run takes of a GPU; None: `SHARE` where Ray has GPUs, else nothing.

    Raises:
        UserError: when Ray cannot be used, training fails, or a state cannot be written; or when
            workers died, after all other runs have ended. Runs that have ended are kept.
    """
    # Imported here: `recg` need not wait for torch.
    from recg_core.training.checkpoints import has_ended

    runs = {str(run): run for plan in plans for run in plan.runs}
    digests = {name: run.digest() for name, run in runs.items()}
    missing = {
        name: digests[name]
        for name, run in runs.items()
        if not has_ended(run.state, digests[name], run.config)
    }
    if not missing:
        return 0
    done = len(runs) - len(missing)
    bar = tqdm(desc="models", unit="model", total=len(runs), initial=done, disable=None)
    with started_ray("the grid") as ray, bar:
        if gpus is None:
            gpus = SHARE if ray.cluster_resources().get("GPU") else 0.0
        threads = plans[0].runs[0].config.threads
        tasks = _tasks(ray, plans, missing)
        with closing(run_on_ray(ray, train_run, tasks, num_cpus=threads, num_gpus=gpus)) as ended:
            for name, state in ended:
                # A worker that sees this disk has written it there.
                if not has_ended(runs[name].state, digests[name], runs[name].config):
                    write_bytes(runs[name].state, state)
                bar.update()
    return len(missing)


def _tasks(
    ray: Any, plans: Sequence[Plan], missing: Mapping[str, str]
) -> dict[str, tuple[Any, ...]]:
    """The arguments of `train_run` for each missing run; what plans share is sent once."""
    data = {id(each): each for plan in plans for each in (plan.source, plan.pool)}
    sent = {key: ray.put(each) for key, each in data.items()}
    return {
        str(run): (sent[id(plan.source)], sent[id(plan.pool)], run, missing[str(run)])
        for plan in plans
        for run in plan.runs
        if str(run) in missing
    }


def train_run(
    source: SourceDomains, pool: Mapping[str, np.ndarray], run: Run, digest: str
) -> bytes:
    """In a worker: train a run, or go on where its state is on this machine; the state's bytes.

    Raises:
        UserError: naming the run and the machine, when training fails or this machine has other
            code than gave `digest`.
    """
    import torch

    # Ray's arrays are those of all workers of a machine; training writes to none.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(run.config.threads)
    error: Any
    try:
        if run.digest() != digest:
            raise UserError("recg_core differs from that of the grid; install the same version")
        fit_run(source, pool, run)
        return run.state.read_bytes()
    except torch.OutOfMemoryError:
        error = "the GPU has not enough memory; let fewer models share it (--gpus-per-model)"
    except (OSError, MemoryError) as found:
        error = machine_error(found)
    except UserError as found:
        error = found
    raise UserError(f"{run}, on {socket.gethostname()}: {error}")
