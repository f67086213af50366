"""A JSON object a line.

A fast parser takes whole blocks of lines in which every value is plain. Where one is not, the
lines around it are parsed one by one, exactly; both give the same.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from recg_core.base.errors import UserError
from recg_core.raw.blocks import Advance, ahead, read_blocks
from recg_core.raw.source import SCALAR_ROLES, TextLayout

PIECE_LINES = 1024  # in a block with an odd line, so many are tried together
LINES_FOR_KEYS = 10_000  # a key may be missing from some lines
LONE_SURROGATES = re.compile("[\ud800-\udfff]")
# What the fast parser makes of objects, arrays and truth values, or text that looks like it.
NOT_PLAIN = r"(?m)^(?:[\[{]|true$|false$)"


class _Number(str):
    """A JSON number as it is written."""


# Of a repeated key the first counts, as for the fast parser.
DECODER = json.JSONDecoder(
    object_pairs_hook=lambda pairs: dict(reversed(pairs)),
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=lambda _: None,
)


def jsonl_columns(path: Path, layout: TextLayout) -> list[str]:
    """The keys of the first lines.

    Raises:
        UserError: when none of them is an object, as in a file that is one JSON array.
    """
    lines = next(read_blocks(path, lambda _: None, layout.encoding), b"").split(b"\n")
    records = [_parse_line(line)[0] for line in lines[:LINES_FOR_KEYS]]
    keys = sorted({key for record in records for key in record})
    if not keys and any(lines):
        start = next(line for line in lines if line).strip()[:1]
        found = "one JSON array" if start == b"[" else "no JSON lines"
        raise UserError(
            f"{path}: is {found}; one JSON object a line is needed (`jq -c '.[]'` turns an array "
            "into lines)"
        )
    return keys


def read_jsonl(
    path: Path, columns: Mapping[str, str], layout: TextLayout, advance: Advance
) -> Iterator[pl.DataFrame]:
    """One row a line; see `recg_core.raw.formats`."""
    line = 1
    for block in ahead(read_blocks(path, advance, layout.encoding)):
        frame = _parse_block(block, columns)
        yield frame.with_row_index("line", offset=line).with_columns(pl.col("line").cast(pl.Int64))
        line += frame.height


def _parse_block(block: bytes, columns: Mapping[str, str]) -> pl.DataFrame:
    """One row a line. Of a block with an odd line, the piece around it is parsed line by line."""
    frame = _parse_plain(block, columns)
    if frame is not None:
        return frame
    lines = block.split(b"\n")[:-1]
    frames = []
    for start in range(0, len(lines), PIECE_LINES):
        piece = lines[start : start + PIECE_LINES]
        parsed = _parse_plain(b"\n".join([*piece, b""]), columns)
        frames.append(_parse_lines(piece, columns) if parsed is None else parsed)
    return pl.concat(frames)


def _parse_plain(block: bytes, columns: Mapping[str, str]) -> pl.DataFrame | None:
    """The rows of a block in which every line is an object with plain values, else None."""
    record, _ = _parse_line(block[: block.find(b"\n")])  # the others are mostly of the same types
    schema = {
        column: pl.List(pl.String) if isinstance(record.get(column), list) else pl.String()
        for column in columns.values()
    }
    try:
        frame = pl.read_ndjson(io.BytesIO(block), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != block.count(b"\n"):  # blank lines give no row
        return None
    texts = {}
    for role, column in columns.items():
        values = frame[column]
        is_list = values.dtype == pl.List
        if is_list and role in SCALAR_ROLES:
            return None
        apart = values.list.join("\n", ignore_nulls=True) if is_list else values
        if apart.str.contains(NOT_PLAIN).any():
            return None
        texts[role] = values.list.join(" ", ignore_nulls=True) if is_list else values
    return pl.DataFrame(texts).with_columns(reason=pl.lit(None, pl.String))


def _parse_lines(lines: list[bytes], columns: Mapping[str, str]) -> pl.DataFrame:
    """The same frame as the fast parser's, with the reason for each line that is unusable."""
    values: dict[str, list[str | None]] = {role: [] for role in columns}
    reasons: list[str | None] = []
    for line in lines:
        record, reason = _parse_line(line)
        for role, column in columns.items():
            value = record.get(column)
            parts = value if isinstance(value, list) and role not in SCALAR_ROLES else [value]
            if any(isinstance(part, bool | list | dict) for part in parts):
                reason = f"{role.removesuffix('_id')}_not_text"
                parts = [None]
            texts = [_as_text(part) for part in parts if part is not None]
            values[role].append(" ".join(texts) if texts else None)
        reasons.append(reason)
    schema = dict.fromkeys([*columns, "reason"], pl.String)
    return pl.DataFrame({**values, "reason": reasons}, schema=schema)


def _parse_line(line: bytes) -> tuple[dict[str, Any], str | None]:
    """The object of a line, or an empty one and what is wrong."""
    if not line.strip():
        return {}, "blank"
    try:
        record = DECODER.decode(line.decode())
    except UnicodeDecodeError:
        return {}, "not_utf8"
    except (ValueError, RecursionError):
        return {}, "not_json"
    return (record, None) if isinstance(record, dict) else ({}, "not_object")


def _as_text(value: str) -> str:
    """A string as it is, a number as the fast parser writes it."""
    if isinstance(value, _Number) and not value.lstrip("-").isdigit():
        number = Decimal(repr(float(value)))
        value = f"{number:f}".removesuffix(".0") if number.is_finite() else value
    return LONE_SURROGATES.sub("\0", value)  # they cannot be stored as UTF-8
