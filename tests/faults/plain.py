"""The plain reading of a file: what its lines say, written without any of `recg_core.raw`.

Slow, whole files in memory, a character at a time; the rules are those of the README.
"""

import ast
import datetime
import gzip
import html
import json
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
ONE_LINE = ("user", "item", "ts", "user_id", "parent_asin", "timestamp")  # hold no line ends
EARLIEST, LATEST = 10**11, 10**14  # ms; a time outside is in another unit
NO_TEXT = re.compile("[\ud800-\udfff]")
SPACE = " \t\r\n\v\f"
Fields = dict[str, Any]  # column -> value


class Unreadable(Exception):
    """The file as a whole is no such file; it must be refused."""


class Number(str):
    """A JSON number as it is written."""


@dataclass(frozen=True)
class Layout:
    """How a text file is written."""

    kind: str  # csv or jsonl
    separator: str = ","
    quotes: str = "doubled"
    header: tuple[str, ...] | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Reading:
    """What a file says: its records by line, and what the other lines are."""

    lines: range  # without the header
    records: dict[int, Fields]  # by the line that each begins on
    no_records: frozenset[int]  # blank lines and those that go on with a record

    @property
    def unusable(self) -> set[int]:
        """The lines that should be a record and are none."""
        return set(self.lines) - set(self.records) - self.no_records


def read_text(path: Path, layout: Layout, columns: Sequence[str]) -> Reading:
    """Every line of a text file.

    Raises:
        Unreadable: when it has no text or not the columns.
    """
    if layout.kind not in ("csv", "jsonl"):
        raise Unreadable(f"is no {layout.kind}")
    lines = _lines(path.read_bytes(), path.suffix == ".gz", layout.encoding)
    if layout.kind == "jsonl":
        records = {n: found for n, line in enumerate(lines, 1) if (found := _object(line))}
        blank = {n for n, line in enumerate(lines, 1) if not line.strip(SPACE)}
        return Reading(range(1, len(lines) + 1), records, frozenset(blank))
    return _read_csv(lines, layout, columns)


def _lines(data: bytes, is_gzip: bool, encoding: str) -> list[str]:
    """The lines without their ends; bytes that are no text are lone surrogates."""
    if is_gzip or data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise Unreadable(str(error)) from error
    if encoding != "utf-8":
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise Unreadable(str(error)) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    parts = data.split(b"\n")
    lines = parts if parts[-1] else parts[:-1]
    return [line.removesuffix(b"\r").decode(errors="surrogateescape") for line in lines]


def _object(line: str) -> Fields | None:
    if NO_TEXT.search(line):
        return None
    try:
        found = json.loads(
            line,
            parse_int=Number,
            parse_float=Number,
            parse_constant=lambda _: None,
            object_pairs_hook=lambda pairs: dict(reversed(pairs)),  # the first of a key counts
        )
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_csv(lines: list[str], layout: Layout, columns: Sequence[str]) -> Reading:
    names, start = layout.header, 0
    if names is None:
        first = split(lines[0], layout) if lines else None
        if first is None or NO_TEXT.search(lines[0]):
            raise Unreadable("no header")
        names, start = tuple(name.strip() for name in first), 1
    if any(names.count(column) != 1 for column in columns):
        raise Unreadable(f"the columns are {names}")
    records: dict[int, Fields] = {}
    no_records = set()
    while start < len(lines):
        line = lines[start]
        end = start + 1
        if not line.strip():
            no_records.add(end)
        elif found := _record(lines, start, layout, names):
            fields, end = found
            if not NO_TEXT.search("".join(fields.values())):
                records[start + 1] = fields
            no_records |= set(range(start + 2, end + 1))
        start = end
    numbers = range(1 + (layout.header is None), len(lines) + 1)
    return Reading(numbers, records, frozenset(no_records))


def _record(
    lines: list[str], start: int, layout: Layout, names: Sequence[str]
) -> tuple[Fields, int] | None:
    """The record that begins on a line and the line after it; names and times have one line."""
    text = ""
    for end in range(start, len(lines)):
        text += lines[end] if end == start else "\n" + lines[end]
        if not is_open(text, layout):
            fields = split(text, layout)
            if fields is None or len(fields) != len(names):
                return None
            record = dict(zip(names, fields, strict=True))
            one_line = "".join(record.get(name, "") for name in ONE_LINE)
            return (record, end + 1) if end == start or "\n" not in one_line else None
    return None


def is_open(text: str, layout: Layout) -> bool:
    """Whether a quote waits for another one."""
    if layout.quotes == "none":
        return False
    if layout.quotes == "escaped":
        text = re.sub(r"(?s)\\.", "", text)
    return text.count('"') % 2 == 1


def split(text: str, layout: Layout) -> list[str] | None:
    """The fields of a record; None where a quote is out of place."""
    if layout.quotes == "none":
        return text.split(layout.separator)
    fields, position = [], 0
    while True:
        field = ""
        quoted = position + len(text[position:]) - len(text[position:].lstrip(" "))
        if text[quoted : quoted + 1] == '"':
            position = quoted + 1
            while True:
                if position >= len(text):
                    return None
                mark = text[position]
                if layout.quotes == "escaped" and mark == "\\":
                    field += text[position + 1 : position + 2]
                    position += 2
                elif mark == '"' and layout.quotes == "doubled" and text[position + 1 :][:1] == '"':
                    field += '"'
                    position += 2
                elif mark == '"':
                    position += 1
                    break
                else:
                    field += mark
                    position += 1
            while text[position : position + 1] == " " and not text.startswith(
                layout.separator, position
            ):
                position += 1
        else:
            end = text.find(layout.separator, position)
            field = text[position : end if end >= 0 else len(text)]
            if '"' in field:
                return None
            position += len(field)
        fields.append(field)
        if position == len(text):
            return fields
        if not text.startswith(layout.separator, position):
            return None
        position += len(layout.separator)


# --- values --------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """Without invisible characters at the ends."""
    while text and _is_invisible(text[0]):
        text = text[1:]
    while text and _is_invisible(text[-1]):
        text = text[:-1]
    return text


def _is_invisible(mark: str) -> bool:
    return unicodedata.category(mark) in ("Cc", "Cf", "Zs", "Zl", "Zp") or mark in BLANK_LETTERS


def name_of(value: Any) -> str | None:
    """The one spelling of an id; None if it is none."""
    if isinstance(value, bool | list | dict) or value is None:
        return None
    text = strings_of(visible(str(value)))
    is_float = isinstance(value, Number | float) and not text.lstrip("-").isdigit()
    if is_float and abs(float(text)) != float("inf"):
        text = f"{Decimal(repr(float(text))):f}"
    if re.fullmatch(r"-?(0|[1-9][0-9]*)\.0+", text):
        text = text.partition(".")[0]
    if re.fullmatch(r"-?[0-9](\.[0-9]+)?[eE]\+[0-9]{2,3}", text):
        number = Decimal(text)
        text = str(int(number)) if number == int(number) else text
    text = "0" if text == "-0" else text
    is_name = text not in ("", "nan", "NaN") and not re.search("[\r\n\0\ufffd\ud800-\udfff]", text)
    return text if is_name else None


def strings_of(text: str) -> str:
    """A printed list's strings with spaces between; other text as it is."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    string = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
    if re.sub(rf"(?s){string}|None|nan|null|[\s,]", "", text[1:-1]):
        return text
    found = re.findall(rf"(?s){string}", text[1:-1])
    try:
        parts = [visible(ast.literal_eval(re.sub("[\r\n]", " ", part))) for part in found]
    except (SyntaxError, ValueError):
        return text
    return " ".join(part for part in parts if part)


def words_of(value: Any) -> str | None:
    """What a reader sees of a text, without spaces and list marks; None where it is no text."""
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool | list | dict) for part in parts):
        return None
    texts = []
    for part in parts:
        if isinstance(part, Number | float | int | Decimal):
            part = name_of(part) or ""
        texts.append(strings_of(visible(part or "")))
    text = "" if texts in (["nan"], ["NaN"]) else " ".join(texts)
    if len(texts) == 1:
        text = re.sub(r"^(-?(?:0|[1-9][0-9]*))\.0+$", r"\1", text)
    text = re.sub(r"</?[a-zA-Z][^<>]*>", "", html.unescape(text))
    kept = (c for c in text if unicodedata.category(c)[0] not in "CZ" and c not in BLANK_LETTERS)
    return re.sub(r"""[\[\]'",\\]""", "", "".join(kept))


def time_of(value: Any, unit: str) -> int | None:
    """Milliseconds since 1970, or what only orders; None if it is no time."""
    if isinstance(value, datetime.datetime):
        value = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        time = Decimal((value - EPOCH) // datetime.timedelta(milliseconds=1))
    elif isinstance(value, datetime.date):
        time = Decimal((value - EPOCH.date()).days * 86_400_000)
    elif isinstance(value, bool | list | dict) or value is None:
        return None
    else:
        text = visible(str(value))
        if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", text):
            time = Decimal(text)
            if unit == "order":
                return int(time) if abs(time) < 2**63 and time == int(time) else None
            time = (time * 1000).to_integral_value() if unit == "s" else time
        elif (moment := _moment(text)) is not None:
            time = moment
        else:
            return None
    if unit != "order" and not EARLIEST <= time < LATEST:
        return None
    return int(time) if time == int(time) else None


EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _moment(text: str) -> Decimal | None:
    """ISO 8601, without a zone in UTC."""
    form = (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([.,][0-9]+)?"
        r"( ?(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?))?)?"
    )
    if not re.fullmatch(form, text):
        return None
    text = re.sub(" ?(Z|UTC|GMT)$", "+00:00", text).replace(",", ".")
    text = re.sub(r" (?=[+-])", "", text)
    fraction = re.search(r"\.([0-9]+)", text)
    whole = text if fraction is None else text.replace(fraction[0], "")
    try:
        moment = datetime.datetime.fromisoformat(whole)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    ms = int((fraction[1] + "000")[:3]) if fraction else 0
    return Decimal((moment - EPOCH) // datetime.timedelta(milliseconds=1) + ms)


# --- the domain ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """What must come out."""

    visits: list[tuple[str, str, int]]  # sorted
    items: dict[str, tuple[str, ...]]  # the texts of each
    num_lines: dict[str, int]  # of each table
    rejected: dict[str, set[tuple[int, int]]]  # of each table: number of the file, and line


def expected(
    tables: Mapping[str, Sequence[Reading]], columns: Mapping[str, Mapping[str, str]], unit: str
) -> Expected:
    """The domain of two tables in which every interaction counts whose item has text.

    Args:
        tables, columns: of `interactions` and `items`.
    """
    rejected = {
        name: {(n, line) for n, reading in enumerate(readings) for line in reading.unusable}
        for name, readings in tables.items()
    }
    texts: dict[str, list[tuple[str, ...]]] = {}
    roles = columns["items"]
    for place, record in _records(tables["items"]):
        name = name_of(record.get(roles["item_id"]))
        words = [
            words_of(record.get(column)) for role, column in roles.items() if role != "item_id"
        ]
        if name is None or None in words:
            rejected["items"].add(place)
        else:
            texts.setdefault(name, []).append(tuple(word or "" for word in words))
    chosen = {name: next((t for t in found if any(t)), None) for name, found in texts.items()}
    roles = columns["interactions"]
    visits = []
    for place, record in _records(tables["interactions"]):
        user, item = (name_of(record.get(roles[role])) for role in ("user_id", "item_id"))
        if "timestamp" in roles:
            time = time_of(record.get(roles["timestamp"]), unit)
        else:
            time = place[0] * 2**40 + place[1]
        if user is None or item is None or time is None or item not in chosen:
            rejected["interactions"].add(place)
        elif chosen[item] is not None:
            visits.append((user, item, time))
    met = {item for _, item, _ in visits}
    items = {name: found for name, found in chosen.items() if found is not None}
    return Expected(
        sorted(visits),
        {name: found for name, found in items.items() if name in met or not visits},
        {name: sum(len(reading.lines) for reading in found) for name, found in tables.items()},
        rejected,
    )


def _records(readings: Sequence[Reading]) -> list[tuple[tuple[int, int], Fields]]:
    """The records of a table, each with number of its file and line."""
    return [
        ((number, line), record)
        for number, reading in enumerate(readings)
        for line, record in reading.records.items()
    ]
