"""Anyone's own interactions and items, each a CSV, Parquet or JSON lines file."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recg_core.base.errors import UserError
from recg_core.raw.readers.base import Place, RawFiles
from recg_core.raw.source import FileFormat, RawFile

FORMAT_OF_SUFFIX: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table play which role; `item_id` has one name in both files."""

    user_id: str
    item_id: str
    timestamp: str
    title: str
    features: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class TableFiles:
    """Two files with a column for every role.

    Attributes:
        interactions: path of a file with the columns for user_id, item_id and timestamp.
        items: path of a file with the columns for item_id and the texts.
        columns: the name of each of these columns.
        timestamp_unit: of the timestamps, which count from 1970.
    """

    interactions: str
    items: str
    columns: TableColumns
    timestamp_unit: Literal["ms", "s"]

    def fetch(self, place: Place) -> RawFiles:
        """Copy the files under fixed names."""
        roles = {role: name for role, name in vars(self.columns).items() if name is not None}
        people = {role: roles[role] for role in ("user_id", "item_id", "timestamp")}
        texts = {role: name for role, name in roles.items() if role not in ("user_id", "timestamp")}
        return RawFiles(
            _copy(place, Path(self.interactions), "interactions", people),
            _copy(place, Path(self.items), "items", texts),
            self.timestamp_unit,
        )


def _copy(place: Place, path: Path, stem: str, columns: dict[str, str]) -> RawFile:
    """Copy a file whose columns are those expected."""
    from recg_core.raw.formats import column_names  # polars and pyarrow, which no other needs

    suffix = next((s for s in sorted(FORMAT_OF_SUFFIX) if path.name.endswith(s)), None)
    if suffix is None:
        raise UserError(f"{path}: expected a file name that ends in {sorted(FORMAT_OF_SUFFIX)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file, named as '{stem}' of the table")
    file_format = FORMAT_OF_SUFFIX[suffix]
    found = column_names(path, file_format)
    unknown = sorted(set(columns.values()) - set(found))
    if unknown:
        raise UserError(f"{path}: no column(s) {unknown}; its columns are {found}")
    # No link: DVC makes what a stage wrote read-only, which would reach the original.
    shutil.copyfile(path, place.folder / f"{stem}{suffix}")
    return RawFile(f"{stem}{suffix}", file_format, columns)
