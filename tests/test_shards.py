"""Embedding shards: what is written comes back, and what was tampered with does not."""

import dataclasses
import errno
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file, write_sealed_json
from recg_core.base.schema import Schema
from recg_core.domains.shards import (
    Manifest,
    Shard,
    ShardEntry,
    fingerprint_of,
    load_embeddings,
    read_manifest,
    read_shard,
    shard_name,
    write_manifest,
    write_shard,
)

IDENTITY = {"kind": "test", "dim": 3}
FINGERPRINT = fingerprint_of(IDENTITY)
ROWS = {
    "a": [1.0, 2.0, 3.0],
    "b": [0.0, -1.0, 0.5],
    "c": [4.0, 4.0, 4.0],
    "d": [0.25, 0.0, 0.0],
}


def make_folder(folder: Path, rows: dict[str, list[float]], per_shard: int = 2) -> Path:
    entries = []
    ids = list(rows)
    for index, start in enumerate(range(0, len(ids), per_shard)):
        names = ids[start : start + per_shard]
        hashes = [name * 64 for name in names]
        shard = Shard(names, hashes, np.array([rows[n] for n in names], dtype=np.float16))
        path = folder / shard_name(index, FINGERPRINT, names, hashes)
        write_shard(path, shard, FINGERPRINT)
        entries.append(ShardEntry(path.name, len(names), sha256_file(path)))
    write_manifest(
        folder, Manifest(IDENTITY, FINGERPRINT, 3, len(rows), tuple(entries), {"numpy": "2"})
    )
    return folder


def first_shard(folder: Path) -> Path:
    return sorted(folder.glob("*.parquet"))[0]


def test_embeddings_come_back_joined_by_id_in_any_order(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    loaded = load_embeddings(folder, ["d", "a", "c"])
    assert loaded.dtype == np.float32
    assert loaded.tolist() == [ROWS["d"], ROWS["a"], ROWS["c"]]


def test_manifest_comes_back_whole(tmp_path: Path) -> None:
    manifest = read_manifest(make_folder(tmp_path, ROWS))
    assert (manifest.fingerprint, manifest.dim, manifest.rows) == (FINGERPRINT, 3, 4)
    assert [entry.rows for entry in manifest.shards] == [2, 2]
    assert manifest.encoder == IDENTITY


@settings(max_examples=30, deadline=None)
@given(
    arrays(
        np.float16,
        st.tuples(st.integers(1, 5), st.integers(1, 7)),
        elements=st.floats(-1000, 1000, width=16),
    )
)
def test_a_shard_keeps_every_bit_and_equal_shards_have_equal_bytes(
    tmp_path_factory: pytest.TempPathFactory, embeddings: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("shard")
    ids = [f"item {i} ü" for i in range(len(embeddings))]
    shard = Shard(ids, ["0" * 64] * len(ids), embeddings)
    write_shard(folder / "one.parquet", shard, FINGERPRINT)
    write_shard(folder / "two.parquet", shard, FINGERPRINT)
    found, back = read_shard(folder / "one.parquet")
    assert found == FINGERPRINT
    assert back.item_ids == ids
    assert back.embeddings.tobytes() == embeddings.tobytes()
    assert (folder / "one.parquet").read_bytes() == (folder / "two.parquet").read_bytes()


def test_missing_items_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no embedding for 2 item\(s\): x, y; re-run the encode"):
        load_embeddings(make_folder(tmp_path, ROWS), ["a", "x", "y"])


def test_an_item_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    manifest = read_manifest(folder)
    doubled = Manifest(IDENTITY, FINGERPRINT, 3, 6, (*manifest.shards, manifest.shards[0]), {})
    write_manifest(folder, doubled)
    with pytest.raises(UserError, match=r"two embeddings for 1 item\(s\): a"):
        load_embeddings(folder, ["a", "c"])


def test_a_folder_without_manifest_is_incomplete(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="incomplete; re-run the encode stage"):
        load_embeddings(folder, ["a"])


def test_a_changed_byte_is_noticed_with_and_without_manifest(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    path = first_shard(folder)
    table = pq.ParquetFile(path).read()
    reversed_rows = table.take([1, 0]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(reversed_rows, path)
    with pytest.raises(UserError, match="SHA-256 differs from the manifest's"):
        load_embeddings(folder, ["c"])
    with pytest.raises(UserError, match=r"is damaged, .* re-run the encode stage"):
        read_shard(path)


def test_no_flipped_bit_of_a_shard_or_the_manifest_goes_unnoticed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    read = {
        first_shard(folder): read_shard,
        folder / "manifest.json": lambda _: read_manifest(folder),
    }
    for path, reader in read.items():
        whole = path.read_bytes()
        for place in range(0, len(whole), 3):
            flipped = bytes([whole[place] ^ 1 << place % 8])
            path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
            with pytest.raises(UserError, match="is damaged"):
                reader(path)


def test_a_truncated_shard_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    path = first_shard(folder)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="is damaged"):
        read_shard(path)
    foreign = tmp_path / "foreign.parquet"
    table = pl.DataFrame({"item_id": ["a"]})
    Schema("others", dict(table.schema), "none").write(table, foreign)
    with pytest.raises(UserError, match="is no embedding shard"):
        read_shard(foreign)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    first_shard(folder).unlink()
    with pytest.raises(UserError, match="no such shard, though the manifest lists it"):
        load_embeddings(folder, ["c"])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([np.nan, 0.0, 1.0], "NaN or infinite embedding"),
        ([np.inf, 0.0, 1.0], "NaN or infinite embedding"),
        ([0.0, 0.0, 0.0], "all-zero embedding"),
    ],
)
def test_unusable_rows_are_refused_with_their_items(
    tmp_path: Path, row: list[float], problem: str
) -> None:
    folder = make_folder(tmp_path, {**ROWS, "broken": row})
    with pytest.raises(UserError, match=rf"{problem} for 1 item\(s\): broken"):
        load_embeddings(folder, ["a"])


def test_a_shard_of_another_dimension_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    write_manifest(folder, dataclasses.replace(read_manifest(folder), dim=4))
    with pytest.raises(UserError, match=r"holds \(2, 3\) values, the manifest says \(2, 4\)"):
        load_embeddings(folder, ["a"])


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ROWS)
    manifest = read_manifest(folder)
    write_manifest(folder, dataclasses.replace(manifest, encoder={"kind": "other"}))
    with pytest.raises(UserError, match="fingerprint is not that of its encoder"):
        read_manifest(folder)
    write_sealed_json(folder / "manifest.json", {})
    with pytest.raises(UserError, match="missing key"):
        read_manifest(folder)


def test_a_full_disk_leaves_finished_shards_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = Shard(["a"], ["0" * 64], np.ones((1, 3), dtype=np.float16))
    write_shard(tmp_path / "finished.parquet", shard, FINGERPRINT)

    def fill_disk(path: Path, content: bytes) -> None:
        path.write_text("PAR1 half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write_shard(tmp_path / "next.parquet", shard, FINGERPRINT)
    assert [path.name for path in tmp_path.iterdir()] == ["finished.parquet"]
    assert read_shard(tmp_path / "finished.parquet")[0] == FINGERPRINT
