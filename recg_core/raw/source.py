"""What a raw folder says of itself: its `source.json` is a `Source`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json

SOURCE_FILE = "source.json"
FileFormat = Literal["jsonl", "csv", "parquet"]


@dataclass(frozen=True)
class RawFile:
    """One file of a raw folder and which of its columns play which role."""

    name: str
    format: FileFormat
    columns: dict[str, str]  # role -> column; text roles may be missing


@dataclass(frozen=True)
class Source:
    """What a raw folder holds, as written in its `source.json`."""

    interactions: RawFile
    items: RawFile
    timestamp_unit: Literal["ms", "s"]
    sha256: dict[str, str]  # of each file, by name
    row: dict[str, Any]  # the params that it was fetched with


def read_source(folder: Path) -> Source:
    """Read `source.json` of a raw folder.

    Raises:
        UserError: when it is missing, malformed, or names a file that is not there.
    """
    path = folder / SOURCE_FILE
    source = build(Source, read_json(path), str(path))
    for name in (source.interactions.name, source.items.name):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file, though {path} names it; fetch again")
    return source
