"""Writing a whole folder so that a partial one never looks whole."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from recg_core.base.errors import UserError


@contextlib.contextmanager
def replaced_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder beside `folder`; let it take `folder`'s place when the block succeeds.

    It is removed when the block fails, whatever the reason. What a killed process left behind is
    removed by the next call, since the temporary name depends on `folder` alone.

    Args:
        folder: what the block makes anew. Its old content goes.
        marker: a file that every such folder holds, so that a folder of other content, named by
            mistake, is refused instead of deleted.

    Raises:
        UserError: when `folder` holds something but not `marker`, or the disk is full.
    """
    check_replaceable(folder, marker)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Refuse what `replaced_folder` would refuse, before hours of work for it.

    Raises:
        UserError: when `folder` is a file, or holds something but not `marker`.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; name another")
    if folder.exists() and not (folder / marker).is_file():
        # Hidden files are those of DVC, which deletes what a stage wrote before it runs again.
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if others:
            raise UserError(
                f"{folder}: would be replaced, but holds {others} and no {marker}; delete it or "
                "name another folder"
            )


def link_or_copy(path: Path, to: Path) -> None:
    """Make `to` a file with the content of `path`: a hard link where the disk has them.

    DVC makes what a stage wrote read-only, links included: neither may be written in place.
    """
    try:
        os.link(path.resolve(), to)
    except OSError:
        shutil.copyfile(path, to)
