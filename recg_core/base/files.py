"""Writing files and folders so that a partial one never looks whole."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recg_core.base.access import reading, writing
from recg_core.base.errors import UserError
from recg_core.base.seal import UNSEALED, check_seal, seal, seal_file

_SEAL_KEY = "seal"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds.

    The temporary file is removed when the block fails, whatever the reason, so that readers see
    either the old content or the whole new one, also after a power cut. What a killed process left
    behind is used up by the next call.

    Raises:
        UserError: when the disk is full, the folder cannot be written, or another process is
            writing `path`.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(temporary, path, os.O_CREAT | os.O_RDWR) as descriptor:
            try:
                os.ftruncate(descriptor, 0)
                yield temporary
                sync(temporary)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with sorted keys, atomically."""
    write_bytes(path, _json_text(content).encode("utf-8"))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: when the file is missing, cannot be read, or is no JSON.
    """
    remedy = "run the stage that writes it"
    with reading(path, remedy):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON ({error}); {remedy}") from error


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content`, in which `UNSEALED` stands, with its seal, atomically."""
    write_bytes(path, seal(content))


@contextlib.contextmanager
def sealed_path(path: Path) -> Iterator[Path]:
    """`atomic_path` for a file in which the block leaves `UNSEALED`, and which is then sealed."""
    with atomic_path(path) as temporary:
        yield temporary
        seal_file(temporary)


def read_sealed(path: Path, remedy: str, *, cached: bool = True) -> bytes:
    """The bytes that `write_sealed` wrote.

    Args:
        remedy: what makes the file anew, `run the pool stage`.
        cached: whether it is an output of the pipeline, which DVC may have in its cache.

    Raises:
        UserError: when the file is missing or damaged.
    """
    with reading(path, remedy):
        content = path.read_bytes()
    again = f"delete it and {remedy} (`dvc repro`), or take it from DVC's cache (`dvc checkout`)"
    check_seal(content, str(path), again if cached else remedy)
    return content


def write_sealed_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as `write_json` does, with a seal among its keys."""
    write_sealed(path, _json_text({**content, _SEAL_KEY: UNSEALED}).encode("utf-8"))


def read_sealed_json(path: Path, remedy: str, *, cached: bool = True) -> dict[str, Any]:
    """What `write_sealed_json` wrote, without the seal.

    Raises:
        UserError: as `read_sealed` does.
    """
    return _without_seal(read_sealed(path, remedy, cached=cached))


def parse_sealed_json(content: bytes, label: str, remedy: str) -> dict[str, Any]:
    """The same from bytes, see `check_seal`."""
    check_seal(content, label, remedy)
    return _without_seal(content)


def is_sealed_json(content: Any) -> bool:
    """Whether JSON, as `read_json` gives it, claims a seal; that people write by hand has none."""
    return isinstance(content, dict) and _SEAL_KEY in content


def _without_seal(content: bytes) -> dict[str, Any]:
    values = json.loads(content)
    return {key: value for key, value in values.items() if key != _SEAL_KEY}


def _json_text(content: Any) -> str:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: when it cannot be read.
    """
    digest = hashlib.sha256()
    with reading(path), path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(content: Any) -> str:
    """The SHA-256 of `content` as canonical JSON: equal content gives an equal digest."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def replaced_folder(folder: Path, marker: str) -> Iterator[Path]:
    """`new_folder`, but refuse to replace what this project did not write.

    Args:
        marker: a file that every such folder holds, so that a folder of other content, named by
            mistake, is refused instead of deleted.

    Raises:
        UserError: when `folder` holds something but not `marker`, and as `new_folder` does.
    """
    check_replaceable(folder, marker)
    with new_folder(folder) as temporary:
        yield temporary


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`; let it take `folder`'s place when the block succeeds.

    It is removed when the block fails, whatever the reason. What a killed process left behind is
    removed by the next call, since the temporary name depends on `folder` alone.

    Args:
        folder: what the block makes anew. Its old content goes, in one step.

    Raises:
        UserError: when the disk is full, the place cannot be written, or another process is
            writing `folder`.
    """
    place = folder.resolve() if folder.is_symlink() else folder
    temporary = place.with_name(f".{place.name}.tmp")
    replaced = place.with_name(f".{place.name}.old.tmp")
    with writing(folder, temporary), locked_folder(temporary, folder):
        try:
            shutil.rmtree(replaced, ignore_errors=True)
            _clear(temporary)
            yield temporary
            for path in (*temporary.rglob("*"), temporary):
                sync(path)
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, replaced)
            os.rename(temporary, place)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def locked_folder(folder: Path, said: Path | None = None) -> Iterator[None]:
    """Make `folder` if it is missing, and write in it alone: the lock ends with the process.

    A block that fails before it writes anything leaves no folder.

    Args:
        said: what errors name instead.

    Raises:
        UserError: when another process has locked it, or it cannot be written.
    """
    with writing(said or folder), _locked(folder, said or folder, os.O_DIRECTORY):
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Do alone what is done under the name `path`, of a file beside it that goes with the lock.

    Raises:
        UserError: when another process has locked it, or it cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    with writing(path, lock), _locked(lock, path, os.O_CREAT | os.O_RDWR):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(place: Path, said: Path, flags: int) -> Iterator[int]:
    """Open and lock `place`, made if it is missing; on a file system without locks only open it."""
    while True:
        if flags & os.O_DIRECTORY:
            place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, flags, 0o666)
        try:
            lock(descriptor, said)
            # Its last owner may have moved it away between the opening and the locking.
            if _is_at(descriptor, place):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def lock(descriptor: int, said: Path) -> None:
    """Lock an open file or folder until it is closed, on a file system that has locks.

    Raises:
        UserError: naming `said`, when another process has locked it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{said}: another run is writing it; wait until it has ended") from None
    except OSError:
        return  # a file system without locks


def _is_at(descriptor: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(place))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # which not every file system can
            raise
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_replaceable(folder: Path, marker: str) -> None:
    """Refuse what `replaced_folder` would refuse, before hours of work for it.

    Raises:
        UserError: when `folder` is a file, or holds something but not `marker`.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is no folder; name another")
        if folder.exists() and not (folder / marker).is_file():
            # Hidden files are those of DVC, which deletes what a stage wrote before it runs again.
            others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
            if others:
                raise UserError(
                    f"{folder}: would be replaced, but holds {others} and no {marker}; delete it "
                    "or name another folder"
                )


def link_or_copy(path: Path, to: Path) -> None:
    """Make `to` a file with the content of `path`: a hard link where the disk has them.

    DVC makes what a stage wrote read-only, links included: neither may be written in place.
    """
    try:
        os.link(path.resolve(), to)
    except OSError:
        shutil.copyfile(path, to)
