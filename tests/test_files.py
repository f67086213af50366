"""A partial file never looks whole, and what cannot be written is said."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import (
    atomic_path,
    read_json,
    read_sealed,
    read_sealed_json,
    sha256_file,
    sha256_json,
    write_json,
    write_sealed_json,
)


def write_half(path: Path, reason: BaseException) -> None:
    """Write some text and then fail."""
    with atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise reason


def test_a_new_file_appears_whole_in_a_new_folder_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ranks.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["ranks.txt"]


@pytest.mark.parametrize("reason", [RuntimeError("a defect"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, reason: BaseException
) -> None:
    path = tmp_path / "ranks.txt"
    path.write_text("old")
    with pytest.raises(type(reason)):
        write_half(path, reason)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_message_and_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    path.write_text("old")
    with pytest.raises(UserError) as caught:
        write_half(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert str(caught.value) == f"{path}: could not be written (No space left on device)"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_that_name_is_a_message(tmp_path: Path) -> None:
    folder = tmp_path / "model.json"
    folder.mkdir()
    with pytest.raises(UserError) as caught:
        write_json(folder, {})
    assert str(caught.value) == f"{folder}: could not be written (Is a directory)"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_where_a_folder_is_needed_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("no folder")
    path = tmp_path / "models" / "model.json"
    with pytest.raises(UserError) as caught:
        write_json(path, {})
    assert str(caught.value).startswith(f"{path}: could not be written (")


def test_json_comes_back_and_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    content = {"b": [1, 0.1], "a": {"name": "Müsli", "none": None}}
    write_json(one, content)
    write_json(other, dict(reversed(content.items())))
    assert read_json(one) == content
    assert one.read_bytes() == other.read_bytes()
    assert "Müsli" in one.read_text(encoding="utf-8")
    assert one.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_without_a_value_for_a_number_is_not_written(tmp_path: Path, number: float) -> None:
    path = tmp_path / "cell.json"
    write_json(path, {"recall@10": 0.5})
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(path, {"recall@10": number})
    assert json.loads(path.read_text()) == {"recall@10": 0.5}


def test_json_that_is_missing_or_damaged_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert str(caught.value) == f"{path}: no such file; run the stage that writes it"
    for damaged in (b'{"seeds": [0,', b"\xff\xfe\x00"):
        path.write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read_json(path)
        assert str(caught.value).startswith(f"{path}: not valid JSON (")
        assert str(caught.value).endswith("); run the stage that writes it")


def test_sealed_json_comes_back_without_its_seal_and_no_flipped_bit_goes_unnoticed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.json"
    content = {"zeta": [1, 0.1], "a": {"name": "Müsli", "none": None}}
    write_sealed_json(path, content)
    whole = path.read_bytes()
    assert read_sealed_json(path, "train") == content
    assert json.loads(whole).keys() == {"a", "seal", "zeta"}
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        with pytest.raises(UserError) as caught:
            read_sealed_json(path, "run the train stage")
        assert str(caught.value) == (
            f"{path}: is damaged, or not of this version of the project; delete it and run the "
            "train stage (`dvc repro`), or take it from DVC's cache (`dvc checkout`)"
        )


def test_a_sealed_file_that_is_missing_or_no_file_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_sealed(tmp_path / "pool", "run the pool stage")
    assert str(caught.value) == f"{tmp_path / 'pool'}: no such file; run the pool stage"
    with pytest.raises(UserError, match="cannot be read"):
        read_sealed(tmp_path, "run the pool stage")


def test_digests_are_those_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(path) == expected


def test_the_digest_of_json_depends_on_the_content_alone() -> None:
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})
    assert sha256_json([1, 2]) != sha256_json([2, 1])
