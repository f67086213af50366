"""What machines refuse, as errors that a user can mend: which file, and what was wrong."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError

_UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,  # which is no `Exception`
    UnicodeDecodeError,
    RecursionError,
)
_POLARS_NUMBER = re.compile(r"\bos error (\d+)")  # how Polars says what the system said
_NO_MEMORY = (
    "there was not enough memory; end other programs, use a machine with more, or less data"
)
_TORCH_MEMORY = re.compile(r"can't allocate memory|out of memory")
# Of what is written alone, though copying a file names its source with them.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def reading(path: Path, remedy: str = "") -> Iterator[None]:
    """Read one file.

    Args:
        remedy: what to do about a file that is missing or damaged.

    Raises:
        UserError: naming `path`, when it is missing, cannot be read or cannot be decoded.
    """
    ending = f"; {remedy}" if remedy else ""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file{ending}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from error
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}){ending}") from error


@contextlib.contextmanager
def writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Write `path`, a file or folder, by way of `temporary`; the block may read other files.

    Raises:
        UserError: naming `path` when it could not be written, or else the file that the system
            refused.
    """
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        if not isinstance(error, OSError) and not _POLARS_NUMBER.search(str(error)):
            raise
        number, said, named = _number(error), reason(error), _path(error) or path
        if named in path.parents:
            said = f"{named}: {said}"
        elif number not in _NO_ROOM and not {path, temporary} & {named, *named.parents}:
            raise UserError(f"{named}: {said}") from error
        raise UserError(f"{path}: could not be written ({said})") from error


@contextlib.contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Do what may take more memory than there is, in main memory or on a GPU.

    Args:
        what: is being done.

    Raises:
        UserError: saying so, when there is too little.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise UserError(f"{what}: {_NO_MEMORY}") from error


def is_memory(error: BaseException) -> bool:
    """Whether it says that there was not enough memory, of the machine or of a GPU."""
    # Of torch; on a CPU it is no class of its own.
    of_torch = isinstance(error, RuntimeError) and _TORCH_MEMORY.search(str(error)) is not None
    return of_torch or isinstance(error, MemoryError)


def machine_error(error: OSError | MemoryError | RuntimeError) -> UserError:
    """The same error for a user, where no block above has said more."""
    if is_memory(error):
        return UserError(_NO_MEMORY)
    path = _path(error)
    return UserError(reason(error) if path is None else f"{path}: {reason(error)}")


def reason(error: BaseException) -> str:
    """What went wrong, in the system's words and without the file's name, on one line."""
    number = _number(error)
    if number is not None:
        return os.strerror(number)
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _number(error: BaseException) -> int | None:
    found = _POLARS_NUMBER.search(str(error))
    return int(found[1]) if found else getattr(error, "errno", None)


def _path(error: BaseException) -> Path | None:
    name = getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None
