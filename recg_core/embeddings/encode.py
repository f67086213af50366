"""Encoding items into shards: reuse what is known, encode the rest, manifest last.

Shards are made in a folder that goes on after an interruption; where others read them they are
complete or as before.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.base.config import require_positive
from recg_core.base.errors import UserError
from recg_core.base.files import (
    check_replaceable,
    link_or_copy,
    locked_folder,
    replaced_folder,
    sha256_file,
)
from recg_core.domains.shards import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    ShardEntry,
    check_embeddings,
    read_manifest,
    read_shard,
    write_manifest,
    write_shard,
)
from recg_core.embeddings.layout import Layout, ShardPlan, lay_out
from recg_core.embeddings.reuse import VectorStore
from recg_core.embeddings.workers import encode_lists, one_ahead
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
            are named and nothing of them is written), a shard cannot be written, or another process
            is writing `folder`.
    """
    with locked_folder(folder):
        return _encode_items(items, encoder, folder, config, max_minutes, known)


def _encode_items(
    items: pl.DataFrame,
    encoder: Encoder,
    folder: Path,
    config: EncodeConfig,
    max_minutes: float | None,
    known: Sequence[Path],
) -> Manifest | None:
    layout = lay_out(items, encoder, folder, config.rows_per_shard, known)
    old = _usable_manifest(folder, layout.fingerprint)
    for path in [*layout.unusable, *folder.glob(".*.tmp")]:  # the latter of a killed process
        path.unlink()
    logger.info("%d items: %d texts to encode", len(items), layout.num_new)
    if not _write_missing(layout, encoder, folder, config.workers, max_minutes):
        return None
    _, first = read_shard(folder / layout.plans[0].name)
    manifest = Manifest(
        encoder=layout.identity,
        fingerprint=layout.fingerprint,
        dim=first.embeddings.shape[1],
        rows=len(items),
        shards=tuple(
            ShardEntry(plan.name, len(plan.items), sha256_file(folder / plan.name))
            for plan in layout.plans
        ),
        libraries=_versions(encoder.libraries) if layout.num_new or old is None else old.libraries,
    )
    if manifest != old:
        write_manifest(folder, manifest)
    names = {plan.name for plan in layout.plans}
    for path in folder.glob("*.parquet"):
        if path.name not in names:
            path.unlink()
    return manifest


def update_embeddings(
    items: pl.DataFrame,
    encoder: Encoder,
    out: Path,
    work: Path,
    config: EncodeConfig,
    max_minutes: float | None = None,
) -> Manifest | None:
    """Make `out` hold exactly the embeddings of `items`; until they are complete it stays as it is.

    Args:
        out: replaced as a whole. What its shards hold already is not encoded again.
        work: where shards are made, by `encode_items`, and kept for the next call: `out` may be
            deleted meanwhile. The files of both are the same where the disk has hard links.
        max_minutes: as in `encode_items`.

    Returns:
        The manifest; None when time ran out. A later call goes on from there.

    Raises:
        UserError: as `encode_items` does, and when `out` holds something else than embeddings.
    """
    check_replaceable(out, MANIFEST_NAME)
    with locked_folder(work):
        manifest = _encode_items(items, encoder, work, config, max_minutes, known=(out,))
        if manifest is not None:
            with replaced_folder(out, MANIFEST_NAME) as folder:
                for name in (*(entry.name for entry in manifest.shards), MANIFEST_NAME):
                    link_or_copy(work / name, folder / name)
    return manifest


def _usable_manifest(folder: Path, fingerprint: str) -> Manifest | None:
    """The manifest of an earlier run with the same encoder; any other is deleted."""
    with suppress(UserError):
        manifest = read_manifest(folder)
        if manifest.fingerprint == fingerprint:
            return manifest
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    return None


def _write_missing(
    layout: Layout, encoder: Encoder, folder: Path, workers: int, max_minutes: float | None
) -> bool:
    """Write the missing shards; False when time ran out."""
    missing = layout.missing

    def write(planned: tuple[ShardPlan, Shard]) -> None:
        plan, shard = planned
        write_shard(folder / plan.name, shard, layout.fingerprint)

    with (
        closing(VectorStore(folder)) as store,
        tqdm(total=layout.num_new, unit="text", desc="encode", disable=None) as bar,
    ):
        store.collect({key for plan in missing for key in plan.text_sha256}, layout.places)
        lists = (plan.new_texts(encoder.template) for plan in missing if plan.new_rows)
        with closing(encode_lists(encoder, lists, workers, bar.update)) as vectors:
            shards = _in_time(_shards(missing, vectors, store), len(missing), max_minutes)
            written = sum(1 for _ in one_ahead(write, shards))
    return written == len(missing)


def _shards(
    missing: Sequence[ShardPlan], vectors: Iterator[np.ndarray], store: VectorStore
) -> Iterator[tuple[ShardPlan, Shard]]:
    """Every shard, in order, from the vectors of the plans' new texts and those in the store."""
    # Only a text that comes again is worth its place in the store, which is on disk.
    uses = Counter(key for plan in missing for key in plan.text_sha256)
    for plan in missing:
        item_ids, keys = plan.items["item_id"].to_list(), plan.text_sha256
        fresh = np.empty((0, store.dim), dtype=np.float16)
        if plan.new_rows:
            fresh = _checked(next(vectors), [item_ids[row] for row in plan.new_rows], store.dim)
            shared = [i for i, row in enumerate(plan.new_rows) if uses[keys[row]] > 1]
            store.add([keys[plan.new_rows[i]] for i in shared], fresh[shared])
        known = sorted(set(range(len(keys))).difference(plan.new_rows))
        embeddings = np.empty((len(keys), store.dim), dtype=np.float16)
        embeddings[plan.new_rows] = fresh
        embeddings[known] = store.take([keys[row] for row in known])
        yield plan, Shard(item_ids, keys, embeddings)


def _checked(encoded: np.ndarray, item_ids: Sequence[str], dim: int) -> np.ndarray:
    """The encoder's output as it is stored, float16; any `dim` will do where it is 0."""
    expected = (len(item_ids), dim or encoded.shape[-1])
    if encoded.shape != expected:
        raise UserError(
            f"the encoder returned {encoded.shape} for {expected[0]} texts of dim {expected[1]}"
        )
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused
        halved = encoded.astype(np.float16)
    check_embeddings(halved, item_ids, "the encoder's output")
    return halved


def _in_time(
    shards: Iterable[tuple[ShardPlan, Shard]], num_shards: int, max_minutes: float | None
) -> Iterator[tuple[ShardPlan, Shard]]:
    """The shards, one at least, up to the first that would not be finished in time."""
    started = last = time.monotonic()
    slowest = 0.0
    for number, (plan, shard) in enumerate(shards, start=1):
        yield plan, shard
        now = time.monotonic()
        seconds, last = now - last, now
        slowest = max(slowest, seconds)
        counts = f"{len(plan.items)} items, {len(plan.new_rows)} texts encoded"
        logger.info("shard %d/%d: %s, %.1f s", number, num_shards, counts, seconds)
        if max_minutes is not None and now - started + slowest > 60 * max_minutes:
            return


def _versions(distributions: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
