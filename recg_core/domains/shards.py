"""Item embeddings on disk: Parquet shards that describe themselves, and a manifest over them.

A folder of embeddings is complete when it has a `manifest.json`, which is written last. Every
shard carries the fingerprint of its encoder and a seal in its Parquet header, so that the finished
shards of a killed run can be trusted without a manifest.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import (
    read_sealed,
    read_sealed_json,
    sha256_file,
    sha256_json,
    write_sealed,
    write_sealed_json,
)
from recg_core.base.seal import UNSEALED

MANIFEST_NAME = "manifest.json"
_HEADER = b"llm_recg"
_REPAIR = "re-run the encode stage"


@dataclass(frozen=True)
class Shard:
    """The embeddings of n consecutive items."""

    item_ids: list[str]
    text_sha256: list[str]  # of the rendered text of each item
    embeddings: np.ndarray  # float16 [n, dim]


@dataclass(frozen=True)
class ShardEntry:
    """What a manifest knows about one shard."""

    name: str
    rows: int
    sha256: str  # of the file


@dataclass(frozen=True)
class Manifest:
    """What a complete folder of embeddings holds and which encoder made it."""

    encoder: dict  # identity: everything that can change a vector
    fingerprint: str  # sha256 of `encoder`
    dim: int
    rows: int
    shards: tuple[ShardEntry, ...]
    libraries: dict[str, str]  # versions at the last encoding, for information only


def fingerprint_of(identity: dict[str, Any]) -> str:
    """The fingerprint of an encoder: the SHA-256 of its identity as canonical JSON."""
    return sha256_json(identity)


def shard_name(
    index: int, fingerprint: str, item_ids: Sequence[str], text_sha256: Sequence[str]
) -> str:
    """A file name that is a function of what the shard will hold, known before encoding.

    Shards of a changed catalogue therefore never overwrite those of the old one, whose vectors
    are needed until the new ones are complete.
    """
    key = sha256_json([fingerprint, list(item_ids), list(text_sha256)])
    return f"{index:05d}-{key[:16]}.parquet"


def write_shard(path: Path, shard: Shard, fingerprint: str) -> None:
    """Write one shard atomically; equal arguments give equal bytes.

    Raises:
        UserError: when the disk is full or the folder cannot be written; no part of it is left.
    """
    _, dim = shard.embeddings.shape
    embedding = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(shard.embeddings, dtype=np.float16).reshape(-1)), dim
    )
    header = {"fingerprint": fingerprint, "seal": UNSEALED}
    schema = _schema(dim).with_metadata({_HEADER: json.dumps(header)})
    table = pa.table([shard.item_ids, shard.text_sha256, embedding], schema=schema)
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", use_dictionary=False)
    write_sealed(path, content.getvalue())


def read_shard(path: Path) -> tuple[str, Shard]:
    """Read one shard and check its seal.

    Returns:
        The fingerprint of its encoder, and the shard.

    Raises:
        UserError: when it is missing, damaged, or no shard.
    """
    content = read_sealed(path, _REPAIR)
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read()
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable shard; {_REPAIR}") from error
    metadata = table.schema.metadata or {}
    dim = getattr(table.schema.types[-1], "list_size", 0)  # of a fixed-size list alone
    if _HEADER not in metadata or not table.schema.equals(_schema(dim)):
        raise UserError(f"{path}: is no embedding shard; {_REPAIR}")
    header = json.loads(metadata[_HEADER])
    flat = table["embedding"].combine_chunks().flatten()
    # Not flat.to_numpy(), which imports pandas where it is installed: a quarter of a second.
    values = np.frombuffer(flat.buffers()[1], "<f2", count=len(flat), offset=2 * flat.offset)
    return header["fingerprint"], Shard(
        item_ids=table["item_id"].to_pylist(),
        text_sha256=table["text_sha256"].to_pylist(),
        embeddings=values.reshape(-1, dim),
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, which declares the folder complete."""
    write_sealed_json(folder / MANIFEST_NAME, asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of embeddings.

    Raises:
        UserError: when there is none (the folder is incomplete), or it is damaged or no manifest.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        raise UserError(f"{path}: no such file, so these embeddings are incomplete; {_REPAIR}")
    manifest = build(Manifest, read_sealed_json(path, _REPAIR), str(path))
    if fingerprint_of(manifest.encoder) != manifest.fingerprint:
        raise UserError(f"{path}: its fingerprint is not that of its encoder; {_REPAIR}")
    return manifest


def load_embeddings(folder: Path, item_ids: Sequence[str]) -> np.ndarray:
    """Load the embeddings of the given items, joined by id.

    Args:
        folder: a complete folder of shards.
        item_ids: the items, in the order of the rows wanted.

    Returns:
        float32 [len(item_ids), dim].

    Raises:
        UserError: when the folder is incomplete, a shard is missing, changed or from another
            encoder, an item has no embedding or two, or an embedding is not finite or all zero.
    """
    manifest = read_manifest(folder)
    position = {item_id: row for row, item_id in enumerate(item_ids)}
    if len(position) != len(item_ids):
        raise UserError(f"{folder}: asked for the embedding of an item twice")
    embeddings = np.empty((len(item_ids), manifest.dim), dtype=np.float32)
    found = np.zeros(len(item_ids), dtype=np.int64)
    for entry in manifest.shards:
        shard = _read_listed(folder, entry, manifest)
        source = [row for row, item_id in enumerate(shard.item_ids) if item_id in position]
        target = [position[shard.item_ids[row]] for row in source]
        embeddings[target] = shard.embeddings[source]
        np.add.at(found, target, 1)
    for problem, rows in (("no embedding", found == 0), ("two embeddings", found > 1)):
        if rows.any():
            raise UserError(f"{folder}: {problem} for {_name_some(item_ids, rows)}; {_REPAIR}")
    return embeddings


def embedding_blocks(folder: Path, item_ids: Sequence[str]) -> Iterator[np.ndarray]:
    """The embeddings of all items of a folder, a shard at a time, float16 [n, dim].

    Args:
        folder: a complete folder of shards.
        item_ids: all its items, in the order in which they were encoded.

    Raises:
        UserError: as `load_embeddings` does, and when the items are others, or in another order.
    """
    manifest = read_manifest(folder)
    start = 0
    for entry in manifest.shards:
        shard = _read_listed(folder, entry, manifest)
        if shard.item_ids != list(item_ids[start : start + entry.rows]):
            raise UserError(f"{folder / entry.name}: holds other items; {_REPAIR}")
        start += entry.rows
        yield shard.embeddings
    if start != len(item_ids):
        raise UserError(f"{folder}: holds {start} of {len(item_ids)} items; {_REPAIR}")


def check_embeddings(embeddings: np.ndarray, item_ids: Sequence[str], where: str) -> None:
    """Refuse rows that are not finite or that are all zero.

    Raises:
        UserError: `where: NaN or infinite embedding for ...`, naming the items.
    """
    finite = np.isfinite(embeddings).all(axis=1)
    for problem, rows in (
        ("NaN or infinite embedding", ~finite),
        ("all-zero embedding", finite & ~embeddings.any(axis=1)),
    ):
        if rows.any():
            raise UserError(f"{where}: {problem} for {_name_some(item_ids, rows)}")


def _name_some(item_ids: Sequence[str], rows: np.ndarray, limit: int = 10) -> str:
    """The number of the items at `rows`, a mask, and the ids of the first."""
    chosen = [item_ids[row] for row in np.flatnonzero(rows).tolist()]
    rest = ", ..." if len(chosen) > limit else ""
    return f"{len(chosen)} item(s): {', '.join(chosen[:limit])}{rest}"


def _read_listed(folder: Path, entry: ShardEntry, manifest: Manifest) -> Shard:
    path = folder / entry.name
    if not path.exists():
        raise UserError(f"{path}: no such shard, though the manifest lists it; {_REPAIR}")
    if sha256_file(path) != entry.sha256:
        raise UserError(f"{path}: its SHA-256 differs from the manifest's; {_REPAIR}")
    fingerprint, shard = read_shard(path)
    if fingerprint != manifest.fingerprint:
        raise UserError(f"{path}: made by another encoder than the manifest's; {_REPAIR}")
    if shard.embeddings.shape != (entry.rows, manifest.dim):
        raise UserError(
            f"{path}: holds {shard.embeddings.shape} values, the manifest says "
            f"{(entry.rows, manifest.dim)}; {_REPAIR}"
        )
    check_embeddings(shard.embeddings, shard.item_ids, f"{path} ({_REPAIR})")
    return shard


def _schema(dim: int) -> pa.Schema:
    embedding = pa.list_(pa.float16(), dim)
    return pa.schema({"item_id": pa.string(), "text_sha256": pa.string(), "embedding": embedding})
