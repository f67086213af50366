"""The file formats of raw records: JSON lines, CSV and Parquet, each as frames of bounded size.

Each function takes a path, the columns wanted (role -> column) and a progress callback, and yields
frames with `line` (1-based; the row of a Parquet file), one column a role, and `reason`: null, or
what only the format can tell about a bad line. Roles are strings, but `timestamp` is Int64 and
the roles in `LIST_ROLES` may be List(String).
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recg_core.base.errors import UserError
from recg_core.raw.blocks import Advance, ahead, read_blocks
from recg_core.raw.source import FileFormat

Columns = Mapping[str, str]

LIST_ROLES = ("features", "description")
CHUNK_ROWS = 1 << 16
PIECE_LINES = 1024  # in a block with a bad line, so many are tried together
LINES_FOR_KEYS = 10_000  # a key may be missing from some JSON lines
INT64_MAX = (1 << 63) - 1
# Of a repeated key the first counts, as for the fast parser.
DECODER = json.JSONDecoder(object_pairs_hook=lambda pairs: dict(reversed(pairs)))
LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def column_names(path: Path, file_format: FileFormat) -> list[str]:
    """The columns of a file: its schema, its header, or the keys of its first JSON lines.

    Raises:
        UserError: when the file cannot be read as that format.
    """
    if file_format == "parquet":
        return list(_open_parquet(path).schema_arrow.names)
    lines = next(read_blocks(path, lambda _: None), b"").split(b"\n")[:LINES_FOR_KEYS]
    if file_format == "csv":
        return next(csv.reader([lines[0].decode("utf-8-sig", "replace")]), [])
    return sorted({key for line in lines for key in _parse_line(line)[0]})


def read_jsonl(path: Path, columns: Columns, advance: Advance) -> Iterator[pl.DataFrame]:
    """Read a JSON object a line, `.gz` or not."""
    schema: dict[str, Any] = {column: _json_type(role) for role, column in columns.items()}
    line = 1
    for block in ahead(read_blocks(path, advance)):
        frame = _parse_block(block, columns, schema)
        yield frame.with_row_index("line", offset=line).with_columns(pl.col("line").cast(pl.Int64))
        line += frame.height


def read_csv(path: Path, columns: Columns, advance: Advance) -> Iterator[pl.DataFrame]:
    """Read CSV with a header and quotes as in RFC 4180, `.gz` or not.

    Raises:
        UserError: on a missing column or a quote that is never closed.
    """
    blocks = (block.decode("utf-8-sig", "replace") for block in ahead(read_blocks(path, advance)))
    reader = csv.reader(chain.from_iterable(io.StringIO(text, newline="") for text in blocks))
    header = next(reader, [])
    _require(path, columns, header)
    places = {role: header.index(column) for role, column in columns.items()}
    while chunk := list(_csv_chunk(path, reader)):
        lines = [line for line, _ in chunk]
        whole = [len(row) == len(header) for _, row in chunk]
        empty = [""] * len(header)
        rows = [row if ok else empty for (_, row), ok in zip(chunk, whole, strict=True)]
        reasons = [None if ok else "wrong_number_of_columns" for ok in whole]
        texts = {role: [row[place] for row in rows] for role, place in places.items()}
        schema = {"line": pl.Int64, **dict.fromkeys(texts, pl.String), "reason": pl.String}
        yield _parse_timestamps(
            pl.DataFrame({"line": lines, **texts, "reason": reasons}, schema=schema)
        )


def read_parquet(path: Path, columns: Columns, advance: Advance) -> Iterator[pl.DataFrame]:
    """Read Parquet; ids may be strings or integers, timestamps are integers.

    Raises:
        UserError: on a missing column, one of another type, or a file that is no Parquet.
    """
    parquet = _open_parquet(path)
    _require(path, columns, parquet.schema_arrow.names)
    size, num_rows = path.stat().st_size, max(parquet.metadata.num_rows, 1)
    line = 1
    for batch in parquet.iter_batches(CHUNK_ROWS, columns=sorted(set(columns.values()))):
        found = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        values = [_typed(path, role, found[column]) for role, column in columns.items()]
        frame = pl.DataFrame(values).with_columns(reason=pl.lit(None, pl.String))
        yield frame.with_row_index("line", offset=line).with_columns(pl.col("line").cast(pl.Int64))
        line += frame.height
        advance(size * frame.height // num_rows)


FORMATS = {"jsonl": read_jsonl, "csv": read_csv, "parquet": read_parquet}


def _json_type(role: str) -> pl.DataType:
    if role == "timestamp":
        return pl.Int64()
    return pl.List(pl.String) if role in LIST_ROLES else pl.String()


def _parse_block(block: bytes, columns: Columns, schema: dict[str, Any]) -> pl.DataFrame:
    """One row a line. Of a block with a bad line, the piece around it is parsed line by line."""
    frame = _parse_strictly(block, columns, schema)
    if frame is not None:
        return frame
    lines = block.split(b"\n")[:-1]
    frames = []
    for start in range(0, len(lines), PIECE_LINES):
        piece = lines[start : start + PIECE_LINES]
        parsed = _parse_strictly(b"\n".join([*piece, b""]), columns, schema)
        frames.append(_parse_lines(piece, columns) if parsed is None else parsed)
    return pl.concat(frames)


def _parse_strictly(block: bytes, columns: Columns, schema: dict[str, Any]) -> pl.DataFrame | None:
    """The rows of a block in which every line is an object with values of the right types."""
    try:
        frame = pl.read_ndjson(io.BytesIO(block), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != block.count(b"\n"):  # blank lines give no row
        return None
    return frame.select(
        *(pl.col(column).alias(role) for role, column in columns.items()),
        pl.lit(None, pl.String).alias("reason"),
    )


def _parse_lines(lines: list[bytes], columns: Columns) -> pl.DataFrame:
    """The same frame as the fast parser's, with the reason for each line that is unusable."""
    values: dict[str, list[Any]] = {role: [] for role in columns}
    reasons: list[str | None] = []
    for line in lines:
        record, reason = _parse_line(line)
        for role, column in columns.items():
            value = record.get(column)
            if role == "timestamp":
                if value is not None and not _is_int64(value):
                    value, reason = None, "timestamp_not_integer"
            elif role in LIST_ROLES:
                parts = value if isinstance(value, list) else [value]
                value = None if value is None else [_as_text(part) for part in parts]
            else:
                value = _as_text(value)
            values[role].append(value)
        reasons.append(reason)
    schema: dict[str, Any] = {role: _json_type(role) for role in columns}
    return pl.DataFrame({**values, "reason": reasons}, schema={**schema, "reason": pl.String()})


def _parse_line(line: bytes) -> tuple[dict[str, Any], str | None]:
    """The object of a line, or an empty one and what is wrong."""
    try:
        record = DECODER.decode(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}, "not_json"
    return (record, None) if isinstance(record, dict) else ({}, "not_object")


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT64_MAX


def _as_text(value: Any) -> str | None:
    """A string as it is, anything else as its JSON text."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return LONE_SURROGATES.sub("\0", text)  # they cannot be stored as UTF-8


def _csv_chunk(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Up to `CHUNK_ROWS` records, each with the number of the line that it ends on."""
    try:
        for _, row in zip(range(CHUNK_ROWS), reader, strict=False):
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not valid CSV ({error}); a quote may not be closed"
        ) from error


def _parse_timestamps(frame: pl.DataFrame) -> pl.DataFrame:
    """Make the texts in `timestamp`, where there are any, integers."""
    if "timestamp" not in frame.columns:
        return frame
    text = pl.col("timestamp")
    number = text.str.to_integer(strict=False, dtype=pl.Int64)
    is_integer = (text == "") | (text.str.contains(r"^-?[0-9]+$") & number.is_not_null())
    return frame.with_columns(
        timestamp=pl.when(is_integer).then(number),
        reason=pl.when(pl.col("reason").is_null() & ~is_integer)
        .then(pl.lit("timestamp_not_integer"))
        .otherwise(pl.col("reason")),
    )


def _open_parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error


def _typed(path: Path, role: str, values: pl.Series) -> pl.Series:
    """A Parquet column in the type of its role."""
    dtype = values.dtype
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum)
    if role == "timestamp":
        if not dtype.is_integer():
            raise UserError(
                f"{path}: column '{values.name}' is {dtype}; timestamps are integers, in the unit "
                "that timestamp_unit names"
            )
        return values.cast(pl.Int64, strict=False).alias(role)
    if role in LIST_ROLES and dtype == pl.List(pl.String):
        return values.alias(role)
    if is_text or dtype == pl.Null or (role.endswith("_id") and dtype.is_integer()):
        return values.cast(pl.String).alias(role)
    raise UserError(f"{path}: column '{values.name}' is {dtype}, which is no {role}")


def _require(path: Path, columns: Columns, found: list[str]) -> None:
    missing = sorted(set(columns.values()) - set(found))
    if missing:
        raise UserError(f"{path}: no column(s) {missing}; its columns are {found}")
