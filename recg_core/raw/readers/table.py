"""Anyone's own interactions and items: CSV and its relatives, Parquet or JSON lines files."""

import glob
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recg_core.base.errors import UserError
from recg_core.raw.formats import check_columns, separator_hint
from recg_core.raw.readers.base import Contents, Place, RawFiles, check_text_names
from recg_core.raw.source import FileFormat, RawTable, TextLayout, TimestampUnit

FORMAT_OF_SUFFIX: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".dat": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
SEPARATOR_OF_SUFFIX = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TableFile:
    """The files of a table that are not written as their names say.

    Attributes:
        path: of one file or of several, where `*` and `?` stand for parts of names.
        encoding, quotes, header: as in `TextLayout`.
        separator: between fields; a comma in .csv and a tab in .tsv unless given.
    """

    path: str | tuple[str, ...]
    encoding: str = "utf-8"
    separator: str | None = None
    quotes: Literal["doubled", "escaped", "none"] = "doubled"
    header: tuple[str, ...] | None = None


Files = str | tuple[str, ...] | TableFile


@dataclass(frozen=True)
class ItemIdColumns:
    """The column of item ids where it has another name in each table."""

    interactions: str
    items: str


@dataclass(frozen=True)
class TableColumns:
    """Which columns play which role.

    Attributes:
        user_id, timestamp, rating: of the interactions. The time may be missing where the order
            of the lines is the order in time; ratings serve `preprocess.min_rating`.
        title, features, description: of the items.
        texts: further texts of the items: the name that a template has for it, and the column.
    """

    item_id: str | ItemIdColumns
    title: str
    user_id: str | None = None
    timestamp: str | None = None
    rating: str | None = None
    features: str | None = None
    description: str | None = None
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text_names(self.texts)

    def of_interactions(self) -> dict[str, str]:
        """The columns of the interactions by role."""
        item_id = self.item_id if isinstance(self.item_id, str) else self.item_id.interactions
        columns = {
            "user_id": self.user_id,
            "item_id": item_id,
            "timestamp": self.timestamp,
            "rating": self.rating,
        }
        return {role: column for role, column in columns.items() if column is not None}

    def of_items(self) -> dict[str, str]:
        """The columns of the items by role."""
        columns = {
            "item_id": self.item_id if isinstance(self.item_id, str) else self.item_id.items,
            "title": self.title,
            "features": self.features,
            "description": self.description,
            **self.texts,
        }
        return {role: column for role, column in columns.items() if column is not None}


@dataclass(frozen=True)
class TableFiles:
    """Two tables, each of a file or several.

    Attributes:
        interactions: path, paths or `TableFile`; null for a shop whose items nobody has met yet.
        items: as `interactions`.
        columns: the names of their columns.
        timestamp_unit: of times that are numbers, which count from 1970; `order` for numbers
            that only order the interactions. Dates in ISO 8601 need none.
    """

    items: Files
    columns: TableColumns
    interactions: Files | None = None
    timestamp_unit: TimestampUnit = "order"

    def __post_init__(self) -> None:
        if self.interactions is None:
            return
        if self.columns.user_id is None:
            raise ValueError("columns.user_id is missing")
        if self.columns.timestamp is None and self.timestamp_unit != "order":
            raise ValueError(
                "columns.timestamp is missing; set it, or `timestamp_unit: order` if the order of "
                "the lines is the order in time"
            )

    def contents(self) -> Contents:
        """What has a column."""
        texts = [role for role in self.columns.of_items() if role != "item_id"]
        has_interactions = self.interactions is not None
        has_ratings = has_interactions and self.columns.rating is not None
        return Contents(tuple(texts), has_interactions, has_ratings)

    def fetch(self, place: Place) -> RawFiles:
        """Copy the files under fixed names."""
        interactions = None
        if self.interactions is not None:
            columns = self.columns.of_interactions()
            interactions = _copy(place, self.interactions, "interactions", columns)
        items = _copy(place, self.items, "items", self.columns.of_items())
        return RawFiles(interactions, items, self.timestamp_unit)


def describe(files: Files, stem: str) -> tuple[list[Path], FileFormat, TextLayout]:
    """The files of a table, their format and how they are written.

    Args:
        stem: what the table is called in errors.

    Raises:
        UserError: when there are none, they are of several kinds, or a setting does not fit.
    """
    if not isinstance(files, TableFile):
        files = TableFile(files)
    paths = _found([files.path] if isinstance(files.path, str) else list(files.path), stem)
    suffixes = {_suffix(path) for path in paths}
    if len(suffixes) > 1:
        raise UserError(f"{stem}: files of several kinds {sorted(suffixes)}; name those of one")
    (suffix,) = suffixes
    return paths, FORMAT_OF_SUFFIX[suffix], _layout(files, suffix, paths[0], stem)


def _copy(place: Place, files: Files, stem: str, columns: dict[str, str]) -> RawTable:
    """Copy the files of a table under fixed names."""
    paths, file_format, layout = describe(files, stem)
    names = []
    for number, path in enumerate(paths, start=1):
        check_columns(path, file_format, columns, layout)
        part = "" if len(paths) == 1 else f"-{number:04}"
        packed = ".gz" if path.suffix == ".gz" else ""
        names.append(f"{stem}{part}{_suffix(path)}{packed}")
        # No link: DVC makes what a stage wrote read-only, which would reach the original.
        shutil.copyfile(path, place.folder / names[-1])
    return RawTable(tuple(names), file_format, columns, layout)


def _layout(files: TableFile, suffix: str, path: Path, stem: str) -> TextLayout:
    """How the files are written; a setting that their kind does not have is refused."""
    kind = FORMAT_OF_SUFFIX[suffix]
    if kind != "csv" and (files.separator or files.header or files.quotes != "doubled"):
        raise UserError(f"{stem}: {suffix} files have no separator, quotes or header line")
    if kind == "parquet" and files.encoding != "utf-8":
        raise UserError(f"{stem}: {suffix} files have no encoding")
    separator = files.separator or SEPARATOR_OF_SUFFIX.get(suffix)
    if kind == "csv" and separator is None:
        raise UserError(
            f"{path}: the name does not say what separates its fields"
            + (separator_hint(path, TextLayout(files.encoding)) or "; set `separator:`")
        )
    try:
        return TextLayout(files.encoding, separator or ",", files.quotes, files.header)
    except ValueError as error:
        raise UserError(f"{stem}: {error}") from error


def _found(patterns: list[str], stem: str) -> list[Path]:
    """The files that paths and patterns name, those of a pattern in order of their names."""
    paths = []
    for pattern in patterns:
        is_pattern = not Path(pattern).exists() and glob.has_magic(pattern)
        found = sorted(map(Path, glob.glob(pattern))) if is_pattern else [Path(pattern)]
        paths += [path for path in found if not is_pattern or path.is_file()]
        if not found or not found[0].exists():
            raise UserError(f"{pattern}: no such file, named as '{stem}' of the table")
        if not found[0].is_file():
            raise UserError(f"{pattern}: is no file, named as '{stem}' of the table")
    if len(set(paths)) < len(paths):
        raise UserError(f"{stem}: a file is named more than once among {list(map(str, paths))}")
    return paths


def _suffix(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMAT_OF_SUFFIX:
        raise UserError(f"{path}: expected a file name that ends in {list(FORMAT_OF_SUFFIX)}")
    return suffix
