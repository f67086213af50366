"""Training the models of a variant on one source: every backbone and seed, as cores allow."""

import csv
import hashlib
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

import recg_core
from recg_core.base.errors import UserError
from recg_core.base.files import replaced_folder, sha256_file, sha256_json, write_bytes
from recg_core.domains.pool import Pool
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.backbone_code import backbone_sha256
from recg_core.models.card import MODEL_FILE, ModelCard, ModelSpec
from recg_core.training.config import TrainConfig, check_seeds
from recg_core.training.processes import run_in_processes

CODE = ("domains", "models", "training")  # packages that decide what training gives

Row = dict[str, float]  # of a training curve


@dataclass(frozen=True)
class Task:
    """One seed of one model; see `train_models`."""

    source: SourceDomains
    pool: dict[str, np.ndarray]  # text embeddings [n, H] by domain
    spec: ModelSpec
    config: TrainConfig
    address: str  # of the variant's row
    seed: int
    device: str | None
    folder: Path  # for its weights
    progress: Path  # its state while it is unfinished, and at its end


@dataclass(frozen=True)
class Outcome:
    """How the training of a seed went."""

    best_epoch: int
    valid_ndcg: float
    curve: list[Row]


def train_models(
    source: SourceDomains,
    pool: Pool,
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    seeds: Sequence[int],
    folder: Path,
    *,
    work: Path,
    address: str = "variant",
    device: str | None = None,
    tuned: Mapping[str, TrainConfig] | None = None,
) -> dict[str, list[Row]]:
    """Train models for every seed; each gets a folder named by its backbone.

    It holds the weights of all seeds and, written last, `model.json`.

    Args:
        pool: item texts for the generalization loss.
        specs: models of different backbones.
        folder: holds the models' folders, each made anew.
        work: keeps the state of every seed. An interrupted call goes on from there and gives the
            same bytes as an unbroken one (on the same machine's CPU); what was trained with equal
            inputs before is taken from there; anything else in it is never used.
        address: where the variant's row stands, named in errors.
        device: of torch; None: the GPU where there is one.
        tuned: by backbone, what takes the place of `config` for it; but for `threads`.

    Returns:
        By backbone, a row for every seed and epoch with the losses and the validation NDCG@10.

    Raises:
        UserError: when the variant needs more domains than the pool has, or training fails.
    """
    check_seeds(seeds)
    source.require_interactions()
    sampled = any(spec.variant.generalization is not None for spec in specs)
    if sampled and pool.fingerprint != source.encoder_fingerprint:
        raise UserError(
            f"the pool was made by another encoder than the embeddings of {source.name}; run the "
            "pool stage again"
        )
    vectors = pool.vectors if sampled else {}
    curves: dict[str, list[Row]] = {}
    with ExitStack() as stack:
        tasks = []
        for spec in specs:
            place = stack.enter_context(replaced_folder(folder / spec.backbone, MODEL_FILE))
            own = (tuned or {}).get(spec.backbone, config)
            for seed in seeds:
                state = work / f"{spec.backbone}-seed-{seed}.safetensors"
                tasks.append(Task(source, vectors, spec, own, address, seed, device, place, state))
        outcomes = run_tasks(tasks, config.threads, device)
        for start in range(0, len(tasks), len(seeds)):
            task, of_seeds = tasks[start], outcomes[start : start + len(seeds)]
            curve = [row for outcome in of_seeds for row in outcome.curve]
            _card(task, seeds, of_seeds, curve).write(task.folder)
            curves[task.spec.backbone] = curve
    return curves


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


def _card(
    task: Task, seeds: Sequence[int], outcomes: Sequence[Outcome], curve: Sequence[Row]
) -> ModelCard:
    sampled = task.spec.variant.generalization is not None
    return ModelCard(
        spec=task.spec,
        source=task.source.name,
        encoder_fingerprint=task.source.encoder_fingerprint,
        pool_domains=sorted({*_names(task.source), *task.pool}) if sampled else [],
        backbone_sha256=backbone_sha256(task.spec.backbone),
        train=asdict(task.config),
        seeds=list(seeds),
        best_epoch=[outcome.best_epoch for outcome in outcomes],
        valid_ndcg=[outcome.valid_ndcg for outcome in outcomes],
        curve_sha256=hashlib.sha256(_curve_csv(curve)).hexdigest(),
    )


def train_task(task: Task) -> Outcome:
    """Train one seed, going on from its state when that is of the same run, and write weights."""
    # Imported here: the process that hands out the work need not wait for torch.
    from recg_core.models.device import choose_device
    from recg_core.models.tensors import save_tensors, seed_path
    from recg_core.training.in_context import with_context, without_context
    from recg_core.training.trainer import Trainer

    device = choose_device(task.device)
    spec = without_context(task.spec)
    trainer = Trainer(task.source, task.pool, spec, task.config, task.seed, device, task.address)
    trained = trainer.fit(task.progress, _digest(task))
    model, valid_ndcg = trained.model, trained.valid_ndcg
    if task.spec.variant.in_context is not None:
        model, valid_ndcg = with_context(model, task.spec, task.source, task.config, task.seed)
    save_tensors(model.state_dict(), seed_path(task.folder, task.seed))
    return Outcome(trained.best_epoch, valid_ndcg, trained.curve)


def _names(source: SourceDomains) -> list[str]:
    return [domain.name for domain in source.domains]


def _digest(task: Task) -> str:
    """A digest of all that decides the result: settings, data and the code that trains."""
    arrays = []
    for domain in task.source.domains:
        users = domain.sequences
        arrays += [users.items.values, users.items.offsets]
        arrays += [users.train_length, users.valid_position, domain.text]
    data = hashlib.sha256()
    for array in (*arrays, *task.pool.values()):
        data.update(repr((array.shape, str(array.dtype))).encode())
        data.update(np.ascontiguousarray(array).data)
    root = Path(str(recg_core.__file__)).parent
    code = [sha256_file(path) for name in CODE for path in sorted((root / name).rglob("*.py"))]
    names = [_names(task.source), sorted(task.pool)]
    settings = [asdict(task.spec), asdict(task.config), names, task.seed]
    backbone = backbone_sha256(task.spec.backbone)
    return sha256_json([settings, data.hexdigest(), code, backbone])


def run_tasks(tasks: Sequence[Task], threads: int, device: str | None) -> list[Outcome]:
    """Train every task with `threads` each, in as many processes as there are cores.

    With a GPU, or one task at a time, everything runs in this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(len(tasks), (cores or 1) // threads)
    if workers < 2 or (_has_gpu() if device is None else device != "cpu"):
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return [train_task(task) for task in tasks]
        finally:
            torch.set_num_threads(before)
    level = logging.getLogger().getEffectiveLevel()
    train = partial(_train_in_process, threads, level)
    return run_in_processes(train, tasks, workers, ["recg_core.training.trainer"])


def _has_gpu() -> bool:
    """Whether this machine has a GPU, without loading torch where its driver is missing."""
    drivers = ("/dev/nvidiactl", "/dev/kfd")
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in drivers):
        return False
    from recg_core.models.device import choose_device

    return choose_device().type != "cpu"


def _train_in_process(threads: int, level: int, task: Task) -> Outcome:
    import torch

    torch.set_num_threads(threads)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    return train_task(task)
