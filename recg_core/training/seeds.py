"""Training every seed of a model into its folder, several at a time where cores allow."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import torch

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_json
from recg_core.embeddings.domain import Domain
from recg_core.embeddings.pool import Pool
from recg_core.models.model import MODEL_FILE, ModelCard, ModelSpec, create_model, save_weights
from recg_core.training.trainer import TrainConfig, Trained, generalization_domains, train_seed

UNFINISHED = "unfinished"  # subfolder with the state of seeds until all of them are done

T = TypeVar("T")


def train_model(
    source: Domain,
    pool: Pool,
    spec: ModelSpec,
    config: TrainConfig,
    seeds: Sequence[int],
    folder: Path,
) -> pl.DataFrame:
    """Train `spec` on `source` for every seed and write weights and, last, `model.json`.

    An interrupted call leaves its state in the folder; the same call goes on from there and gives
    the same bytes as an unbroken one (on the same machine's CPU). Any other call starts afresh.

    Args:
        pool: item texts for the generalization loss.

    Returns:
        The losses and the validation NDCG@10 of every seed and epoch.

    Raises:
        UserError: when the variant needs more domains than the pool has, or training fails.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= s < 2**31 for s in seeds):
        raise UserError(f"seeds: expected distinct integers from 0 to 2^31 - 1, got {list(seeds)}")
    vectors = generalization_domains(source, pool.vectors, spec.variant, config.domain_sample)
    if vectors and pool.fingerprint != source.encoder_fingerprint:
        raise UserError(
            f"the pool was made by another encoder than the embeddings of {source.name}; run the "
            "pool stage again"
        )
    with torch.device("meta"):
        create_model(spec)  # refuses wrong settings before the old model goes
    _clear(folder)
    task = SeedTask(source, vectors, spec, config, folder / UNFINISHED)
    results = map_seeds(task, seeds, config.threads)
    for seed, trained in zip(seeds, results, strict=True):
        save_weights(trained.model, folder, seed)
    ModelCard(
        spec=spec,
        source=source.name,
        encoder_fingerprint=source.encoder_fingerprint,
        pool_domains=sorted(vectors),
        train=asdict(config),
        seeds=list(seeds),
        best_epoch=[trained.best_epoch for trained in results],
        valid_ndcg=[trained.best_ndcg for trained in results],
    ).write(folder)
    shutil.rmtree(folder / UNFINISHED)
    return pl.DataFrame(
        [
            {"seed": seed, **row}
            for seed, trained in zip(seeds, results, strict=True)
            for row in trained.curve
        ]
    )


def _clear(folder: Path) -> None:
    """Empty a model's folder but for the state of an unfinished run."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MODEL_FILE).exists():  # the run was finished; what is left of it is not resumed
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


@dataclass(frozen=True)
class SeedTask:
    """Trains one seed; a class so that worker processes can receive it."""

    source: Domain
    vectors: Mapping[str, np.ndarray]
    spec: ModelSpec
    config: TrainConfig
    unfinished: Path

    def __call__(self, seed: int) -> Trained:
        """Train `seed`, going on from its unfinished state when that is of the same run."""
        return train_seed(
            self.source,
            self.vectors,
            self.spec,
            self.config,
            seed,
            progress_path=self.unfinished / f"seed-{seed}.safetensors",
            run=self._digest(seed),
        )

    def _digest(self, seed: int) -> str:
        """A digest of all that decides the result: settings, data and this library's code."""
        data = hashlib.sha256()
        sequences = self.source.sequences
        arrays = [
            sequences.items.values,
            sequences.items.offsets,
            sequences.train_length,
            sequences.valid_position,
            self.source.text,
            *self.vectors.values(),
        ]
        for array in arrays:
            data.update(repr((array.shape, str(array.dtype))).encode())
            data.update(np.ascontiguousarray(array).data)
        for module in sorted(Path(__file__).parent.rglob("*.py")):
            data.update(module.read_bytes())
        settings = [asdict(self.spec), asdict(self.config), sorted(self.vectors), seed]
        return sha256_json([settings, data.hexdigest()])


def map_seeds(task: Callable[[int], T], seeds: Sequence[int], threads: int) -> list[T]:
    """`task(seed)` for every seed with `threads` each, in as many processes as there are cores.

    With a GPU, or one seed at a time, everything runs in this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(len(seeds), (cores or 1) // threads)
    if workers < 2 or torch.cuda.is_available():
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return [task(seed) for seed in seeds]
        finally:
            torch.set_num_threads(before)
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(threads,),
    ) as executor:
        try:
            return list(executor.map(partial(_quietly, task), seeds))
        except BrokenProcessPool as error:
            raise UserError(
                "a training process was killed, probably for lack of memory; train fewer seeds at "
                "once"
            ) from error


def _quietly(task: Callable[[int], T], seed: int) -> T:
    """Ends a worker without a traceback on Ctrl-C; the parent process reports the interruption."""
    try:
        return task(seed)
    except KeyboardInterrupt:
        os._exit(130)
