"""The log of what was added: after a crash whole, after damage refused."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.serving.eventlog import LOG_FILE, NotWritten, open_log

RECORDS = [{"n": 1}, {"text": "é \u2028 \n"}, {"n": [2, 3]}]


def written(folder: Path) -> Path:
    with open_log(folder) as log:
        assert list(log.read()) == []
        for record in RECORDS:
            log.append(record)
        assert log.size == (folder / LOG_FILE).stat().st_size
    return folder / LOG_FILE


def read(folder: Path) -> list[Any]:
    with open_log(folder) as log:
        return list(log.read())


def test_records_come_back_in_their_order(tmp_path: Path) -> None:
    written(tmp_path)
    assert read(tmp_path) == RECORDS
    with open_log(tmp_path) as log:
        list(log.read())
        log.append({"n": 4})
    assert read(tmp_path) == [*RECORDS, {"n": 4}]


def test_an_unfinished_last_line_is_cut_off_wherever_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = written(tmp_path).read_bytes()
    last = whole.rindex(b'{"sha256"')
    for end in range(last + 1, len(whole)):
        (tmp_path / LOG_FILE).write_bytes(whole[:end])
        with open_log(tmp_path) as log:
            assert list(log.read()) == RECORDS[:2]
            log.append(RECORDS[2])
        assert (tmp_path / LOG_FILE).read_bytes() == whole
    assert f"its {end - last} bytes are cut off" in caplog.text


@settings(max_examples=100)
@given(data=st.data())
def test_any_other_damage_is_refused_with_its_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    whole = written(folder).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 2))  # the end of the last line is another test
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != whole[place]))
    (folder / LOG_FILE).write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    line = whole[:place].count(b"\n") + 1
    with pytest.raises(UserError, match=rf"{LOG_FILE}:{line}: is damaged"):
        read(folder)


def test_a_line_that_is_lost_or_moved_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    one, two, three = path.read_bytes().splitlines(keepends=True)
    for lines, number in (([two, three], 1), ([one, three], 2), ([two, one, three], 1)):
        path.write_bytes(b"".join(lines))
        with pytest.raises(UserError, match=f":{number}: is damaged, or lines before it"):
            read(tmp_path)
        assert path.read_bytes() == b"".join(lines)


def test_two_processes_do_not_share_a_log(tmp_path: Path) -> None:
    with open_log(tmp_path), pytest.raises(UserError, match=f"{LOG_FILE}: another run"):
        read(tmp_path)
    assert read(tmp_path) == []


def test_a_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, write = written(tmp_path).read_bytes(), os.write

    def half(descriptor: int, content: bytes) -> int:
        write(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with open_log(tmp_path) as log:
        list(log.read())
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(NotWritten, match="No space left on device"):
            log.append({"n": 4})
        monkeypatch.undo()
        assert (tmp_path / LOG_FILE).read_bytes() == whole
        log.append({"n": 5})
    assert read(tmp_path) == [*RECORDS, {"n": 5}]


def test_after_a_disk_that_failed_to_keep_nothing_more_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has forgotten what it could not write: a later success would mean nothing."""

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with open_log(tmp_path) as log:
        list(log.read())
        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(NotWritten, match="Input/output error"):
            log.append({"n": 1})
        monkeypatch.undo()
        with pytest.raises(NotWritten, match="mend the disk and start again"):
            log.append({"n": 2})
