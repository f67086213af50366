"""Encoding a catalogue into shards: reuse what is known, encode the rest, manifest last."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.encoders.base import Encoder
from recg_core.encoders.text import render_texts, text_sha256
from recg_core.errors import UserError
from recg_core.files import sha256_file
from recg_core.shards import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    ShardEntry,
    check_embeddings,
    fingerprint_of,
    read_manifest,
    read_shard,
    shard_name,
    write_manifest,
    write_shard,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodeConfig:
    """How embeddings are laid out on disk."""

    rows_per_shard: int

    def __post_init__(self) -> None:
        if self.rows_per_shard < 1:
            raise ValueError(f"rows_per_shard: expected 1 or more, got {self.rows_per_shard}")


@dataclass(frozen=True)
class _Plan:
    """One shard to be: its items, their texts, and the name that follows from them."""

    name: str
    item_ids: list[str]
    texts: list[str]
    text_sha256: list[str]


def encode_items(
    items: pl.DataFrame, encoder: Encoder, folder: Path, config: EncodeConfig
) -> Manifest:
    """Make `folder` hold exactly the embeddings of `items` by `encoder`.

    Shard i holds items i * rows_per_shard onward in the order of `item_idx`, so the layout does not
    depend on how often a run was interrupted. A vector is computed only for a text that no intact
    shard of the same fingerprint holds; shards of other fingerprints are deleted first. Every shard
    is written as soon as it is encoded, and the manifest last.

    Args:
        items: an ITEMS frame.
        encoder: a corpus encoder must have been fitted.
        folder: created when missing; owned by this function.

    Raises:
        UserError: when there is no item, the encoder returns NaN, infinity or a zero row (the items
            are named and nothing of them is written), or a shard cannot be written.
    """
    if items.is_empty():
        raise UserError(f"{folder}: there are no items to encode")
    folder.mkdir(parents=True, exist_ok=True)
    identity = encoder.identity()
    fingerprint = fingerprint_of(identity)
    plans = list(_plan(items, encoder.template, fingerprint, config.rows_per_shard))
    old = _usable_manifest(folder, fingerprint)
    vectors = _reusable_vectors(folder, fingerprint)
    todo = len({key for plan in plans for key in plan.text_sha256} - vectors.keys())
    logger.info("%d items: %d texts to encode", len(items), todo)
    with tqdm(total=todo, unit="text", desc="encode", disable=None) as bar:
        for index, plan in enumerate(plans):
            started = time.perf_counter()
            num_encoded = _encode_missing(plan, encoder, vectors, bar)
            path = folder / plan.name
            if not path.exists():
                embeddings = np.stack([vectors[key] for key in plan.text_sha256])
                write_shard(path, Shard(plan.item_ids, plan.text_sha256, embeddings), fingerprint)
                logger.info(
                    "shard %d/%d: %d items, %d texts encoded, %.1f s",
                    index + 1,
                    len(plans),
                    len(plan.item_ids),
                    num_encoded,
                    time.perf_counter() - started,
                )
    manifest = Manifest(
        encoder=identity,
        fingerprint=fingerprint,
        dim=len(next(iter(vectors.values()))),
        rows=len(items),
        shards=tuple(ShardEntry(p.name, len(p.texts), sha256_file(folder / p.name)) for p in plans),
        libraries=_versions(encoder.libraries) if todo or old is None else old.libraries,
    )
    if manifest != old:
        write_manifest(folder, manifest)
    _delete_all_but({plan.name for plan in plans}, folder)
    return manifest


def _plan(
    items: pl.DataFrame, template: str, fingerprint: str, rows_per_shard: int
) -> Iterator[_Plan]:
    for index, rows in enumerate(items.sort("item_idx").iter_slices(rows_per_shard)):
        item_ids = rows["item_id"].to_list()
        texts = render_texts(rows, template)
        hashes = [text_sha256(text) for text in texts]
        yield _Plan(shard_name(index, fingerprint, item_ids, hashes), item_ids, texts, hashes)


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


def _reusable_vectors(folder: Path, fingerprint: str) -> dict[str, np.ndarray]:
    """The vectors of all intact shards of this encoder by text; other shards are deleted."""
    vectors: dict[str, np.ndarray] = {}
    for leftover in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        leftover.unlink()
    for path in sorted(folder.glob("*.parquet")):
        try:
            found, shard = read_shard(path)
        except UserError as error:
            logger.warning("dropped: %s", error)
            path.unlink()
            continue
        if found != fingerprint:
            path.unlink()
            continue
        for key, vector in zip(shard.text_sha256, shard.embeddings, strict=True):
            vectors.setdefault(key, vector)
    return vectors


def _encode_missing(
    plan: _Plan, encoder: Encoder, vectors: dict[str, np.ndarray], bar: tqdm
) -> int:
    """Add the vectors of the plan's new texts to `vectors`; their number."""
    missing: dict[str, int] = {}
    for row, key in enumerate(plan.text_sha256):
        if key not in vectors:
            missing.setdefault(key, row)
    if not missing:
        return 0
    rows = list(missing.values())
    encoded = encoder.encode([plan.texts[row] for row in rows], bar.update)
    dim = len(next(iter(vectors.values()))) if vectors else encoded.shape[-1]
    if encoded.shape != (len(rows), dim):
        raise UserError(f"the encoder returned {encoded.shape} for {len(rows)} texts of dim {dim}")
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused
        halved = encoded.astype(np.float16)
    check_embeddings(halved, [plan.item_ids[row] for row in rows], "the encoder's output")
    vectors.update(zip(missing, halved, strict=True))
    return len(rows)


def _delete_all_but(names: set[str], folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        if path.name not in names:
            path.unlink()


def _versions(distributions: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
