"""Training every seed of a model into its folder, several at a time where cores allow."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import torch

from recg_core.domain import Domain
from recg_core.files import sha256_json
from recg_core.model import MODEL_FILE, ModelCard, ModelSpec, create_model, save_weights
from recg_core.pool import Pool
from recg_core.training import TrainConfig, Trained, generalization_domains, train_seed

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
    the same bytes as an unbroken one. Any other call starts afresh.

    Args:
        pool: item texts for the generalization loss.

    Returns:
        The losses and the validation NDCG@10 of every seed and epoch.

    Raises:
        UserError: when the variant needs more domains than the pool has, or training fails.
    """
    vectors = generalization_domains(source, pool.vectors, spec.variant)
    with torch.device("meta"):
        create_model(spec)  # refuses wrong settings before the old model goes
    if (folder / MODEL_FILE).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    task = SeedTask(source, vectors, spec, config, folder / UNFINISHED)
    results = map_seeds(task, seeds)
    for seed, trained in zip(seeds, results, strict=True):
        save_weights(trained.model, folder, seed)
    shutil.rmtree(folder / UNFINISHED)
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
    return pl.DataFrame(
        [
            {"seed": seed, **row}
            for seed, trained in zip(seeds, results, strict=True)
            for row in trained.curve
        ]
    )


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


def map_seeds(task: Callable[[int], T], seeds: Sequence[int]) -> list[T]:
    """`task(seed)` for every seed, in worker processes where there are several cores.

    With a GPU, or a single seed, everything runs in this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(len(seeds), cores or 1)
    if workers < 2 or torch.cuda.is_available():
        return [task(seed) for seed in seeds]
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(max(1, (cores or 1) // workers),),
    ) as executor:
        return list(executor.map(partial(_quietly, task), seeds))


def _quietly(task: Callable[[int], T], seed: int) -> T:
    """Ends a worker without a traceback on Ctrl-C; the parent process reports the interruption."""
    try:
        return task(seed)
    except KeyboardInterrupt:
        os._exit(130)
