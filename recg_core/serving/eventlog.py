"""A log on disk of what was added: whole after a crash, and refused when it is damaged.

A line is `{"sha256":"…","record":…}`. The digest is of the line before and of the record, so that
a line which was changed, lost or moved shows. A process that was killed may leave an unfinished
last line, which nobody was told of: it is cut off.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recg_core.base.access import reading, writing
from recg_core.base.errors import UserError
from recg_core.base.files import lock, sync

log = logging.getLogger(__name__)

LOG_FILE = "added.jsonl"
_FORMAT = "recg-added-1"  # where the chain of digests begins
_DIGITS = 32  # of a digest
_START, _END = b'{"sha256":"%s","record":', b"}\n"


class NotWritten(UserError):
    """What was to be added is not on disk, for a reason that is the server's."""


class EventLog:
    """Records in the order in which they were added; see `open_log`.

    Attributes:
        size: in bytes.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._last = _digest(b"", _FORMAT.encode())  # of the line before
        self._usable = False  # until everything has been read

    def read(self) -> Iterator[Any]:
        """All records, once and before any is added. An unfinished last line is cut off.

        Raises:
            UserError: when a line is not as it was written, or the file cannot be read.
        """
        with reading(self.path), self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    said = "%s: its last line was never finished; its %d bytes are cut off"
                    log.warning(said, self.path, len(line))
                    break
                yield self._record(line, number)
                self.size += len(line)
        with writing(self.path):
            os.ftruncate(self._descriptor, self.size)
            os.fsync(self._descriptor)
        self._usable = True

    def append(self, record: Any) -> None:
        """Write a record and have it on disk before going on.

        Raises:
            NotWritten: the log is as before then, or, where the disk does not say, takes no more.
        """
        if not self._usable:
            raise NotWritten(f"{self.path}: could not be written; mend the disk and start again")
        content = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        digest = _digest(self._last, content)
        line = _START % digest + content + _END
        self._usable = False
        try:
            with writing(self.path):
                self._write(line)
        except UserError as error:
            raise NotWritten(str(error)) from error
        self._usable = True
        self.size += len(line)
        self._last = digest

    def _write(self, line: bytes) -> None:
        rest = line
        try:
            while rest:  # the system may take less at a time, as of a disk that gets full
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            self._usable = True
            raise
        os.fsync(self._descriptor)

    def _record(self, line: bytes, number: int) -> Any:
        content = line[len(_START % (b"0" * _DIGITS)) : -len(_END)]
        digest = _digest(self._last, content)
        if line != _START % digest + content + _END:
            raise UserError(
                f"{self.path}:{number}: is damaged, or lines before it are missing; take the file "
                "from a copy, or begin anew in another folder"
            )
        self._last = digest
        return json.loads(content)


@contextlib.contextmanager
def open_log(folder: Path) -> Iterator[EventLog]:
    """The log of a folder, made if it is missing, which no other process may write meanwhile.

    Raises:
        UserError: when another process has it open, or the folder cannot be written.
    """
    path = folder / LOG_FILE
    with contextlib.ExitStack() as stack:
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            stack.callback(os.close, descriptor)
            sync(folder)
        lock(descriptor, path)
        yield EventLog(path, descriptor)


def _digest(last: bytes, content: bytes) -> bytes:
    return hashlib.sha256(last + content).hexdigest()[:_DIGITS].encode()
