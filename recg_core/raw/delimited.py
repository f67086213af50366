"""Text tables: CSV (RFC 4180, read strictly), tab-separated and the like.

No line is ever swallowed: where a quote is not closed as it should be, the line that opened it is
unusable and reading goes on with the next one. (The `csv` module joins lines silently until it
finds some other quote.)
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError
from recg_core.raw.blocks import Advance, ahead, read_blocks
from recg_core.raw.source import SCALAR_ROLES, TextLayout

FIELD_BYTES = 1 << 25  # a longer quoted field is a quote that was never closed
FRAME_ROWS = 1 << 18  # of short lines a block has so many that their fields would fill the memory
SEPARATORS = (",", ";", "\t", "|", "::")
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # as Python decodes bytes that are none


def delimited_columns(path: Path, layout: TextLayout) -> list[str]:
    """The columns: those of the header, which is the first line or a setting.

    Raises:
        UserError: when the first line cannot be the header.
    """
    if layout.header is not None:
        return list(layout.header)
    return _names(path, next(_lines(path, lambda _: None, layout), [""])[0], layout)


def _names(path: Path, first: str, layout: TextLayout) -> list[str]:
    names = _Fields(layout).split(first)
    if names is None or NOT_UTF8.search(first):
        raise UserError(f"{path}:1: is no line of column names; see `quotes:` and `encoding:`")
    return [name.strip() for name in names]


def likely_separator(path: Path, layout: TextLayout) -> str | None:
    """The separator that cuts the first line into the most fields, if any cuts it."""
    first = next(_lines(path, lambda _: None, layout), [""])[0]
    separator = max(SEPARATORS, key=first.count)
    return separator if separator in first else None


def read_delimited(
    path: Path, columns: Mapping[str, str], layout: TextLayout, advance: Advance
) -> Iterator[pl.DataFrame]:
    """One row a physical line; see `recg_core.raw.formats`."""
    blocks = _lines(path, advance, layout)
    if layout.header is None:
        first, *waiting = next(blocks, [""])
        names, line = _names(path, first, layout), 2
    else:
        names, waiting, line = list(layout.header), [], 1
    places = {role: names.index(column) for role, column in columns.items()}
    unbroken = [place for role, place in places.items() if role in SCALAR_ROLES]
    fields = _Fields(layout)
    is_last = False
    while not is_last:
        block = next(blocks, None)
        is_last = block is None
        lines = waiting if block is None else waiting + block
        start = 0
        while rows_and_reasons := _parse(lines, start, fields, len(names), unbroken, is_last):
            yield _frame(line + start, *rows_and_reasons, places)
            start += len(rows_and_reasons[0])
        line += start
        waiting = lines[start:]


class _Fields:
    """How a record is cut into fields."""

    def __init__(self, layout: TextLayout) -> None:
        self.separator = layout.separator
        self.has_quotes = layout.quotes != "none"
        self._escaped = layout.quotes == "escaped"
        inside = r'(?:[^"\\]|\\.)*+' if self._escaped else r'(?:[^"]|"")*+'
        stop = re.escape(self.separator)
        self._field = re.compile(rf'(?s) *"({inside})" *(?={stop}|\Z)|((?:(?!{stop})[^"])*+)')

    def split(self, record: str) -> list[str] | None:
        """The fields; None when a quote is where none may be."""
        if not self.has_quotes or '"' not in record:
            return record.split(self.separator)
        fields, start = [], 0
        while True:
            match = self._field.match(record, start)
            assert match is not None  # its second half matches nothing at all
            fields.append(match[2] if match[1] is None else self._unquoted(match[1]))
            if match.end() == len(record):
                return fields
            if not record.startswith(self.separator, match.end()):
                return None
            start = match.end() + len(self.separator)

    def opens(self, line: str) -> bool:
        """Whether a quote is opened and not closed, or closed and not opened, in a line."""
        if self._escaped:
            line = re.sub(r"\\.", "", line)
        return line.count('"') % 2 == 1

    def _unquoted(self, text: str) -> str:
        return re.sub(r"(?s)\\(.)", r"\1", text) if self._escaped else text.replace('""', '"')


def _lines(path: Path, advance: Advance, layout: TextLayout) -> Iterator[list[str]]:
    """Blocks of lines without their ends; bytes that are no UTF-8 are lone surrogates."""
    for block in ahead(read_blocks(path, advance, layout.encoding)):
        text = block.decode(errors="surrogateescape")
        lines = text.split("\n")[:-1]
        yield [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def _parse(
    lines: list[str], first: int, fields: _Fields, width: int, unbroken: list[int], is_last: bool
) -> tuple[list[list[str] | None], list[str | None]] | None:
    """For each line from `first` on its fields or the reason why it has none, for about FRAME_ROWS.

    A record of several lines stands on its first; the others are `continued`. Without `is_last`
    a record that the lines do not end is left for the next call. None: no line is left.
    """
    rows: list[list[str] | None] = []
    reasons: list[str | None] = []
    start = first
    while start < len(lines) and len(rows) < FRAME_ROWS:
        line = lines[start]
        end, reason, row = start + 1, None, None
        if not line or line.isspace():
            reason = "blank"
        elif '"' in line and fields.has_quotes:
            end = _end_of_record(lines, start, fields)
            if end > len(lines):
                if not is_last and sum(map(len, lines[start:])) < FIELD_BYTES:
                    break
                end = start + 1
            row = fields.split("\n".join(lines[start:end]))
            if end > start + 1 and not _is_record(row, width, unbroken):
                end, row = start + 1, None
            reason = "stray_quote" if row is None else None
        else:
            row = line.split(fields.separator)
        if row is not None and len(row) != width:
            row, reason = None, "wrong_number_of_columns"
        is_ascii = line.isascii() and end == start + 1
        if row is not None and not is_ascii and NOT_UTF8.search("".join(row)):
            row, reason = None, "not_utf8"
        rows += [row, *[None] * (end - start - 1)]
        reasons += [reason, *["continued"] * (end - start - 1)]
        start = end
    return (rows, reasons) if rows else None


def _end_of_record(lines: list[str], start: int, fields: _Fields) -> int:
    """The end of the lines of a record, one too many where they do not end it."""
    end = start + 1
    if fields.opens(lines[start]):
        while end < len(lines) and not fields.opens(lines[end]):
            end += 1
        end += 1
    return end


def _is_record(row: list[str] | None, width: int, unbroken: list[int]) -> bool:
    """Whether lines that a quote holds together are one record: ids and times break nowhere."""
    return (
        row is not None and len(row) == width and not any("\n" in row[place] for place in unbroken)
    )


def _frame(
    line: int, rows: list[list[str] | None], reasons: list[str | None], places: dict[str, int]
) -> pl.DataFrame:
    texts = {
        role: [None if row is None else row[place] for row in rows]
        for role, place in places.items()
    }
    numbers = range(line, line + len(rows))
    schema = {"line": pl.Int64, **dict.fromkeys(texts, pl.String), "reason": pl.String}
    return pl.DataFrame({"line": numbers, **texts, "reason": reasons}, schema=schema)
