"""Training the models of a variant on one source: every backbone and seed, as cores allow."""

import csv
import hashlib
import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from recg_core.base.files import replaced_folder, write_bytes
from recg_core.base.threads import num_cores
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.backbone_code import backbone_sha256
from recg_core.models.card import MODEL_FILE, ModelCard
from recg_core.models.variant import InContextConfig
from recg_core.training.plan import Plan, Run, domain_names
from recg_core.training.processes import run_in_processes

if TYPE_CHECKING:
    from recg_core.training.trainer import Trained

T = TypeVar("T")
U = TypeVar("U")
Row = dict[str, float]  # of a training curve
Weights = dict[str, np.ndarray]  # of what reads contexts, by name
Lesson = tuple[InContextConfig | None, int]  # what they depend on beside the source; a seed


@dataclass(frozen=True)
class Task:
    """A run, and where its weights go; see `train_models`."""

    source: SourceDomains
    pool: dict[str, np.ndarray]
    run: Run
    folder: Path
    weights: Weights | None  # of what reads contexts


@dataclass(frozen=True)
class Outcome:
    """How the training of a seed went."""

    best_epoch: int
    valid_ndcg: float
    curve: list[Row]


def train_models(plan: Plan, folder: Path) -> dict[str, list[Row]]:
    """Train every run of a plan; each model gets a folder named by its backbone.

    It holds the weights of all seeds and, written last, `model.json`.

    Args:
        plan: keeps the state of every run. An interrupted call goes on from there and gives the
            same bytes as an unbroken one (on the same machine's CPU); what was trained with equal
            inputs before is taken from there; anything else in these files is never used.
        folder: holds the models' folders, each made anew.

    Returns:
        By backbone, a row for every seed and epoch with the losses and the validation NDCG@10.

    Raises:
        UserError: when the variant needs more domains than the pool has, or training fails.
    """
    curves: dict[str, list[Row]] = {}
    weights = _in_context_weights(plan)
    with ExitStack() as stack:
        tasks = []
        for backbone, runs in groupby(plan.runs, lambda run: run.spec.backbone):
            place = stack.enter_context(replaced_folder(folder / backbone, MODEL_FILE))
            tasks += [
                Task(plan.source, plan.pool, run, place, weights.get(_lesson(run))) for run in runs
            ]
        found = zip(tasks, run_tasks(tasks), strict=True)
        for backbone, of_seeds in groupby(found, lambda each: each[0].run.spec.backbone):
            trained, outcomes = zip(*of_seeds, strict=True)
            curves[backbone] = [row for outcome in outcomes for row in outcome.curve]
            _card(trained, outcomes, curves[backbone]).write(trained[0].folder)
    return curves


def _lesson(run: Run) -> Lesson:
    return run.spec.variant.in_context, run.seed


def _in_context_weights(plan: Plan) -> dict[Lesson, Weights]:
    """What a run that reads contexts has learned of the source, once for all backbones."""
    lessons = list(dict.fromkeys(_lesson(run) for run in plan.runs if _lesson(run)[0] is not None))
    if not lessons:
        return {}
    tasks = [(plan.source, part.users, seed) for part, seed in lessons if part is not None]
    threads = plan.runs[0].config.threads
    workers = min(len(tasks), num_cores() // threads)
    return dict(zip(lessons, _run_all(_learn, tasks, workers, threads), strict=True))


def _learn(task: tuple[SourceDomains, int, int]) -> Weights:
    from recg_core.training.in_context import in_context_weights

    return in_context_weights(*task)


def write_curves(curves: Mapping[str, Sequence[Row]], folder: Path) -> None:
    """Write what `train_models` returned, a CSV for each backbone."""
    for backbone, rows in curves.items():
        write_bytes(folder / f"{backbone}.csv", _curve_csv(rows))


def _curve_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _card(tasks: Sequence[Task], outcomes: Sequence[Outcome], curve: Sequence[Row]) -> ModelCard:
    """The card of a model: a task and an outcome for each of its seeds."""
    source, run = tasks[0].source, tasks[0].run
    sampled = run.spec.variant.generalization is not None
    return ModelCard(
        spec=run.spec,
        source=source.name,
        encoder_fingerprint=source.encoder_fingerprint,
        pool_domains=sorted({*domain_names(source), *tasks[0].pool}) if sampled else [],
        backbone_sha256=backbone_sha256(run.spec.backbone),
        train=asdict(run.config),
        seeds=[task.run.seed for task in tasks],
        best_epoch=[outcome.best_epoch for outcome in outcomes],
        valid_ndcg=[outcome.valid_ndcg for outcome in outcomes],
        curve_sha256=hashlib.sha256(_curve_csv(curve)).hexdigest(),
    )


def fit_run(source: SourceDomains, pool: Mapping[str, np.ndarray], run: Run) -> "Trained":
    """Train a run, going on from its state when that is of the same run.

    What reads contexts is no part of it; see `with_context`.
    """
    # Imported here: the process that hands out the work need not wait for torch.
    from recg_core.models.device import choose_device
    from recg_core.training.in_context import without_context
    from recg_core.training.trainer import Trainer

    device, spec = choose_device(run.device), without_context(run.spec)
    trainer = Trainer(source, pool, spec, run.config, run.seed, device, run.address)
    return trainer.fit(run.state, run.digest())


def train_task(task: Task) -> Outcome:
    """Train a run and write its weights."""
    from recg_core.models.tensors import save_tensors, seed_path
    from recg_core.training.in_context import with_context

    run = task.run
    trained = fit_run(task.source, task.pool, run)
    model, valid_ndcg = trained.model, trained.valid_ndcg
    if task.weights is not None:
        model, valid_ndcg = with_context(
            model, run.spec, task.source, run.config, run.seed, task.weights
        )
    save_tensors(model.state_dict(), seed_path(task.folder, run.seed))
    return Outcome(trained.best_epoch, valid_ndcg, trained.curve)


def run_tasks(tasks: Sequence[Task]) -> list[Outcome]:
    """Train every task with its threads, in as many processes as there are cores.

    With GPUs, these are shared by as many as their memory takes; see `share_cards`.
    """
    threads, device = tasks[0].run.config.threads, tasks[0].run.device
    workers = min(len(tasks), num_cores() // threads)
    if _has_gpu() if device is None else device != "cpu":
        from recg_core.training.cards import share_cards

        runs, workers = share_cards([task.run for task in tasks], tasks[0].source, workers)
        tasks = [replace(task, run=run) for task, run in zip(tasks, runs, strict=True)]
    return _run_all(train_task, tasks, workers, threads)


def _run_all(function: Callable[[T], U], tasks: Sequence[T], workers: int, threads: int) -> list[U]:
    """The results of all tasks, each with its threads, in `workers` processes or in this one."""
    if workers < 2:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return [function(task) for task in tasks]
        finally:
            torch.set_num_threads(before)
    level = logging.getLogger().getEffectiveLevel()
    there = partial(_in_process, function, threads, level)
    return run_in_processes(there, tasks, workers, ["recg_core.training.trainer"])


def _has_gpu() -> bool:
    """Whether this machine has a GPU, without loading torch where its driver is missing."""
    drivers = ("/dev/nvidiactl", "/dev/kfd")
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in drivers):
        return False
    from recg_core.models.device import choose_device

    return choose_device().type != "cpu"


def _in_process(function: Callable[[T], U], threads: int, level: int, task: T) -> U:
    import torch

    torch.set_num_threads(threads)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    return function(task)
