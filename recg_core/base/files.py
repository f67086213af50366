"""Writing files and folders so that a partial one never looks whole."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.seal import UNSEALED, check_seal, seal

_SEAL_KEY = "seal"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds.

    The temporary file is removed when the block fails, whatever the reason, so that readers see
    either the old content or the whole new one.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


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
        UserError: when the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that writes it") from error
    except ValueError as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); run the stage that writes it"
        ) from error


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content`, in which `UNSEALED` stands, with its seal, atomically."""
    write_bytes(path, seal(content))


def read_sealed(path: Path, remedy: str) -> bytes:
    """The bytes that `write_sealed` wrote.

    Args:
        remedy: what makes the file anew, `run the pool stage`.

    Raises:
        UserError: when the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {remedy}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    again = f"delete it and {remedy} (`dvc repro`), or take it from DVC's cache (`dvc checkout`)"
    check_seal(content, str(path), again)
    return content


def write_sealed_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as `write_json` does, with a seal among its keys."""
    write_sealed(path, _json_text({**content, _SEAL_KEY: UNSEALED}).encode("utf-8"))


def read_sealed_json(path: Path, remedy: str) -> dict[str, Any]:
    """What `write_sealed_json` wrote, without the seal.

    Raises:
        UserError: as `read_sealed` does.
    """
    return _without_seal(read_sealed(path, remedy))


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
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(content: Any) -> str:
    """The SHA-256 of `content` as canonical JSON: equal content gives an equal digest."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


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
