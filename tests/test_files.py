"""A partial file never looks whole, and what cannot be written is said."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import (
    atomic_path,
    locked_folder,
    read_json,
    read_sealed,
    read_sealed_json,
    replaced_folder,
    sha256_file,
    sha256_json,
    write_json,
    write_sealed_json,
)
from recg_core.base.params import read_params
from tests.project import ROOT


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


def test_a_file_that_a_block_cannot_read_is_named_and_not_what_it_writes(tmp_path: Path) -> None:
    source, written = tmp_path / "ratings.csv", tmp_path / "raw" / "garden"
    with pytest.raises(UserError) as caught, replaced_folder(written, "source.json"):
        source.read_bytes()
    assert str(caught.value) == f"{source}: No such file or directory"
    with pytest.raises(UserError) as caught, atomic_path(tmp_path / "items.parquet"):
        sha256_file(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read (Is a directory)"
    assert list(tmp_path.rglob("*")) == [tmp_path / "raw"]


def test_a_full_disk_is_said_of_the_copy_and_not_of_its_source(tmp_path: Path) -> None:
    source, written = tmp_path / "ratings.csv", tmp_path / "garden"
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))  # as of shutil.copyfile
    with pytest.raises(UserError) as caught, replaced_folder(written, "source.json"):
        raise error
    assert str(caught.value) == f"{written}: could not be written (No space left on device)"


def test_a_name_that_is_too_long_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 300)
    for write in (lambda: write_json(path, {}), lambda: enter(replaced_folder(path, "m"))):
        with pytest.raises(UserError) as caught:
            write()
        assert str(caught.value) == f"{path}: could not be written (File name too long)"


def enter(context: Any) -> None:
    with context:
        pass


def test_a_replaced_folder_holds_the_new_content_alone(tmp_path: Path) -> None:
    folder = tmp_path / "garden"
    for name in ("one", "other"):
        with replaced_folder(folder, "marker") as new:
            (new / "marker").write_text(name)
            (new / name).mkdir()
    assert sorted(path.name for path in folder.iterdir()) == ["marker", "other"]
    assert [path.name for path in tmp_path.iterdir()] == ["garden"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "garden"
    folder.mkdir()
    (folder / "marker").write_text("old")
    with suppress(KeyboardInterrupt), replaced_folder(folder, "marker") as new:
        (new / "marker").write_text("new")
        raise KeyboardInterrupt
    assert (folder / "marker").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["garden"]


def test_a_folder_reached_by_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    place, link = tmp_path / "disk" / "garden", tmp_path / "garden"
    place.mkdir(parents=True)
    link.symlink_to(place)
    for _ in range(2):
        with replaced_folder(link, "marker") as new:
            (new / "marker").write_text("new")
    assert link.is_symlink()
    assert [path.name for path in place.parent.iterdir()] == ["garden"]
    assert (place / "marker").read_text() == "new"


WRITE = """
import os, sys
from pathlib import Path
from recg_core.base.files import atomic_path, replaced_folder
folder = Path(sys.argv[1])
with replaced_folder(folder / "raw", "marker") as new, atomic_path(folder / "ranks.txt") as file:
    (new / "marker").write_text("half")
    file.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_write_one_thing_and_a_kill_ends_the_claim(tmp_path: Path) -> None:
    raw, ranks = tmp_path / "raw", tmp_path / "ranks.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    refused = "another run is writing it; wait until it has ended"
    with pytest.raises(UserError) as caught:
        enter(replaced_folder(raw, "marker"))
    assert str(caught.value) == f"{raw}: {refused}"
    with pytest.raises(UserError) as caught:
        enter(atomic_path(ranks))
    assert str(caught.value) == f"{ranks}: {refused}"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ranks.txt.tmp", ".raw.tmp"]
    with atomic_path(ranks) as file:
        assert file.read_text() == ""
        file.write_text("whole")
    with replaced_folder(raw, "marker") as new:
        assert list(new.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ranks.txt", "raw"]
    assert ranks.read_text() == "whole"


def test_a_locked_folder_is_locked_once(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    with locked_folder(folder):
        with pytest.raises(UserError, match="another run is writing it"):
            enter(locked_folder(folder))
        (folder / "shard").write_text("kept")
    with locked_folder(folder):
        assert (folder / "shard").read_text() == "kept"


def test_what_is_nested_too_deeply_or_no_text_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_text("[" * 100_000)
    for read in (read_json, read_params):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}:")
    path.write_bytes(b"seeds: [0] # \xff")
    with pytest.raises(UserError) as caught:
        read_params(path)
    assert str(caught.value).startswith(f"{path}: cannot be read ('utf-8' codec can't decode")
