"""What a raw folder says of itself: its `source.json` is a `Source`."""

import codecs
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, sha256_file, write_sealed_json

SOURCE_FILE = "source.json"
FileFormat = Literal["jsonl", "csv", "parquet"]
TimestampUnit = Literal["s", "ms", "order"]
# Every other role is a text of an item: these, and what else a row names.
SCALAR_ROLES = ("user_id", "item_id", "timestamp", "rating")
TEXT_ROLES = ("title", "features", "description")


@dataclass(frozen=True)
class TextLayout:
    """How a text file is written; Parquet has none of it.

    Attributes:
        encoding: of its bytes, as Python names it.
        separator: between the fields of a CSV file, of one character or more.
        quotes: a quote inside a quoted field is doubled (RFC 4180) or follows a backslash; or
            quotes are characters like others.
        header: the columns of a CSV file whose first line is a record.
    """

    encoding: str = "utf-8"
    separator: str = ","
    quotes: Literal["doubled", "escaped", "none"] = "doubled"
    header: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError(f"encoding: Python knows no {self.encoding!r}") from error
        if not self.separator or '"' in self.separator or "\n" in self.separator:
            raise ValueError(f"separator: {self.separator!r} cannot stand between fields")


@dataclass(frozen=True)
class RawTable:
    """The files of one table and which of their columns play which role."""

    files: tuple[str, ...]  # one after the other, all of the same format
    format: FileFormat
    columns: dict[str, str]  # role -> column; every column is in every file
    layout: TextLayout = field(default_factory=TextLayout)


@dataclass(frozen=True)
class Source:
    """What a raw folder holds, as written in its `source.json`."""

    interactions: RawTable | None  # None: a domain whose items nobody has met yet
    items: RawTable
    timestamp_unit: TimestampUnit
    sha256: dict[str, str]  # of each file, by name
    row: dict[str, Any]  # the params that it was fetched with, without secrets

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files."""
        interactions = () if self.interactions is None else self.interactions.files
        return (*interactions, *self.items.files)


def write_source(folder: Path, source: Source) -> None:
    """Write the `source.json` of a raw folder."""
    write_sealed_json(folder / SOURCE_FILE, asdict(source))


def read_source(folder: Path) -> Source:
    """Read `source.json` of a raw folder and check the files that it names.

    Raises:
        UserError: when it is missing or damaged, or names a file that is not there or has changed.
    """
    path = folder / SOURCE_FILE
    source = build(Source, read_sealed_json(path, "run the fetch stage"), str(path))
    for name in source.files:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file, though {path} names it; fetch again")
        if sha256_file(folder / name) != source.sha256.get(name):
            raise UserError(
                f"{folder / name}: is damaged or was changed, its SHA-256 is not that in {path}; "
                f"fetch again (`dvc repro -f -s fetch@{folder.name}`)"
            )
    return source
