"""Encoding items into shards: reuse what is known, encode the rest, manifest last."""

import logging
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.base.config import require_positive
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file
from recg_core.domains.shards import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    ShardEntry,
    check_embeddings,
    fingerprint_of,
    read_manifest,
    read_shard,
    write_manifest,
    write_shard,
)
from recg_core.embeddings.planner import ShardPlanner, Task, survey_shards
from recg_core.embeddings.reuse import VectorStore
from recg_core.embeddings.workers import encode_lists
from recg_core.encoders.base import Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodeConfig:
    """How embeddings are laid out on disk, and who computes them."""

    rows_per_shard: int
    workers: int = 1  # more are Ray actors, each with a GPU where there is one

    def __post_init__(self) -> None:
        require_positive(self)


def encode_items(
    items: pl.DataFrame,
    encoder: Encoder,
    folder: Path,
    config: EncodeConfig,
    max_minutes: float | None = None,
    known: Sequence[Path] = (),
) -> Manifest | None:
    """Make `folder` hold exactly the embeddings of `items` by `encoder`.

    Shard i holds items i * rows_per_shard onward in the order of `item_idx`, so the layout does not
    depend on how often a run was interrupted. A vector is computed only for a text that no intact
    shard of the same fingerprint holds; shards of other fingerprints are deleted first. Shards are
    written in their order, each while the next is being computed, and the manifest last.

    Args:
        items: an ITEMS frame.
        encoder: a corpus encoder must have been fitted.
        folder: created when missing; owned by this function.
        max_minutes: stop before the first shard, after one at least, that would not be finished by
            then at the pace of the slowest so far.
        known: other folders whose shards may hold vectors of these texts; they are left as they
            are.

    Returns:
        The manifest; None when time ran out. A later call goes on from there.

    Raises:
        UserError: when there is no item, the encoder returns NaN, infinity or a zero row (the items
            are named and nothing of them is written), or a shard cannot be written.
    """
    if items.is_empty():
        raise UserError(f"{folder}: there are no items to encode")
    folder.mkdir(parents=True, exist_ok=True)
    identity = encoder.identity()
    fingerprint = fingerprint_of(identity)
    planner = ShardPlanner(items, encoder.template, fingerprint, config.rows_per_shard)
    old = _usable_manifest(folder, fingerprint)
    survey = survey_shards(folder, fingerprint, known)
    for path in [*survey.unusable, *folder.glob(".*.tmp")]:  # the latter of a killed process
        path.unlink()
    tasks = planner.tasks(survey)
    num_new = sum(len(task.new_rows) for task in tasks)
    logger.info("%d items: %d texts to encode", len(items), num_new)
    with closing(VectorStore(folder)) as store:
        store.collect({key for task in tasks for key in task.plan.text_sha256}, survey.places)
        with (
            tqdm(total=num_new, unit="text", desc="encode", disable=None) as bar,
            closing(_shards(planner, tasks, encoder, store, config.workers, bar)) as shards,
        ):
            if not _write_all(shards, len(tasks), folder, fingerprint, max_minutes):
                return None
    libraries = _versions(encoder.libraries) if num_new or old is None else old.libraries
    manifest = _manifest(planner, folder, identity, libraries)
    if manifest != old:
        write_manifest(folder, manifest)
    names = {plan.name for plan in planner.plans}
    for path in folder.glob("*.parquet"):
        if path.name not in names:
            path.unlink()
    return manifest


def _manifest(
    planner: ShardPlanner, folder: Path, identity: dict[str, Any], libraries: dict[str, str]
) -> Manifest:
    """The manifest of a folder whose shards are all there."""
    entries = tuple(
        ShardEntry(plan.name, len(plan.item_ids), sha256_file(folder / plan.name))
        for plan in planner.plans
    )
    _, first = read_shard(folder / entries[0].name)
    return Manifest(
        encoder=identity,
        fingerprint=fingerprint_of(identity),
        dim=first.embeddings.shape[1],
        rows=sum(entry.rows for entry in entries),
        shards=entries,
        libraries=libraries,
    )


def _usable_manifest(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of an earlier run with the same encoder; any other is deleted."""
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        logger.warning("dropped: %s", error)
    else:
        if manifest.fingerprint == fingerprint:
            return manifest
    path.unlink()
    return None


def _shards(
    planner: ShardPlanner,
    tasks: Sequence[Task],
    encoder: Encoder,
    store: VectorStore,
    workers: int,
    bar: tqdm,
) -> Generator[tuple[Task, Shard], None, None]:
    """Every task's shard, in order."""
    uses = Counter(key for task in tasks for key in task.plan.text_sha256)
    lists = (planner.texts(task) for task in tasks if task.new_rows)
    dim = store.dim
    with closing(encode_lists(encoder, lists, workers, bar.update)) as vectors:
        for task in tasks:
            plan = task.plan
            keys = [plan.text_sha256[row] for row in task.new_rows]
            fresh = np.empty((0, dim or 0), dtype=np.float16)
            if keys:
                ids = [plan.item_ids[row] for row in task.new_rows]
                fresh = _checked(next(vectors), ids, dim)
                dim = fresh.shape[1]
            shared = [row for row, key in enumerate(keys) if uses[key] > 1]
            store.add([keys[row] for row in shared], fresh[shared])
            embeddings = np.empty((len(plan.item_ids), fresh.shape[1]), dtype=np.float16)
            embeddings[task.new_rows] = fresh
            known = sorted(set(range(len(plan.item_ids))) - set(task.new_rows))
            if known:
                embeddings[known] = store.take([plan.text_sha256[row] for row in known])
            yield task, Shard(plan.item_ids, plan.text_sha256, embeddings)


def _checked(encoded: np.ndarray, item_ids: Sequence[str], dim: int | None) -> np.ndarray:
    """The encoder's output as it is stored, float16."""
    expected = (len(item_ids), encoded.shape[-1] if dim is None else dim)
    if encoded.shape != expected:
        raise UserError(
            f"the encoder returned {encoded.shape} for {expected[0]} texts of dim {expected[1]}"
        )
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused
        halved = encoded.astype(np.float16)
    check_embeddings(halved, item_ids, "the encoder's output")
    return halved


def _write_all(
    shards: Iterator[tuple[Task, Shard]],
    num_shards: int,
    folder: Path,
    fingerprint: str,
    max_minutes: float | None,
) -> bool:
    """Write the shards, each in a thread while the next is computed; False when time ran out."""
    started = last = time.monotonic()
    slowest, number = 0.0, 0
    with ThreadPoolExecutor(max_workers=1) as thread:
        written: Future[None] | None = None
        for number, (task, shard) in enumerate(shards, start=1):
            if written is not None:
                written.result()
            path = folder / task.plan.name
            written = thread.submit(write_shard, path, shard, fingerprint)
            now = time.monotonic()
            slowest, seconds, last = max(slowest, now - last), now - last, now
            logger.info(
                "shard %d/%d: %d items, %d texts encoded, %.1f s",
                number,
                num_shards,
                len(shard.item_ids),
                len(task.new_rows),
                seconds,
            )
            if (
                max_minutes is not None
                and number < num_shards
                and now - started + slowest > 60 * max_minutes
            ):
                break
        if written is not None:
            written.result()
    return number == num_shards


def _versions(distributions: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
