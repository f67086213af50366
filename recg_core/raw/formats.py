"""The file formats of raw records. `FORMATS` is the whole registry.

A format tells a file's columns, and reads the columns wanted (role -> column) as frames of bounded
size: `line` (1-based; a row of Parquet), one column a role, and `reason`, which is null or what
only the format can tell about the line. Every line is a row: a line that is no record of its own
has the reason `blank` or `continued`. Values come as the file has them: String, the parts of a
list joined by a space; times and ratings of Parquet may be numbers or times.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError
from recg_core.raw.blocks import Advance
from recg_core.raw.delimited import delimited_columns, likely_separator, read_delimited
from recg_core.raw.jsonl import jsonl_columns, read_jsonl
from recg_core.raw.parquet import parquet_columns, read_parquet
from recg_core.raw.source import FileFormat, TextLayout


@dataclass(frozen=True)
class Format:
    """How the files of one kind are read; both raise UserError for a file that is not of it."""

    columns: Callable[[Path, TextLayout], list[str]]
    read: Callable[[Path, Mapping[str, str], TextLayout, Advance], Iterator[pl.DataFrame]]


FORMATS: dict[FileFormat, Format] = {
    "jsonl": Format(jsonl_columns, read_jsonl),
    "csv": Format(delimited_columns, read_delimited),
    "parquet": Format(parquet_columns, read_parquet),
}
NO_RECORDS = ("blank", "continued")


def check_columns(
    path: Path, file_format: FileFormat, columns: Mapping[str, str], layout: TextLayout
) -> None:
    """Refuse a file without the columns that it should have; an empty one of JSON lines has all.

    Raises:
        UserError: naming the file, what is missing or there twice, and what was found.
    """
    found = FORMATS[file_format].columns(path, layout)
    if file_format == "jsonl" and not found:
        return
    wanted = set(columns.values())
    twice = sorted(column for column in wanted if found.count(column) > 1)
    if twice:
        raise UserError(f"{path}: has column(s) {twice} more than once; rename one")
    missing = sorted(wanted - set(found))
    if missing:
        hint = ""
        if file_format == "csv" and layout.header is None and len(found) == 1:
            hint = separator_hint(path, layout)
        raise UserError(f"{path}: no column(s) {missing}; its columns are {found}{hint}")


def separator_hint(path: Path, layout: TextLayout) -> str:
    """A half sentence on how to set the separator that a text file seems to have."""
    separator = likely_separator(path, layout)
    if separator is None:
        return ""
    return f"; it looks separated by {separator!r}: write `{{path: …, separator: {separator!r}}}`"
