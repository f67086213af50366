"""Parquet files with columns of every type, and ways to damage them."""

import datetime
import io
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults import damage
from tests.faults.plain import Fields, Reading
from tests.faults.records import START

Make = Callable[[int], Any]
UTC = datetime.timezone.utc
KOLKATA = "Asia/Kolkata"
NONE = pa.null()


def _struct(n: int) -> dict[str, Any]:
    return {"a": n}


def _moment(n: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(START + 1000 * n, UTC)


def _naive(n: int) -> datetime.datetime:
    return _moment(n).replace(tzinfo=None)


# For each role, types that it may have and the n-th value.
IDS: tuple[tuple[pa.DataType, Make], ...] = (
    *((t, int) for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *((t, int) for t in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    *((t, float) for t in (pa.float32(), pa.float64())),
    (pa.float64(), lambda n: n + 0.5),
    *((t, lambda n: Decimal(n)) for t in (pa.decimal128(10, 0), pa.decimal128(12, 2))),
    *((t, str) for t in (pa.string(), pa.large_string(), pa.string_view())),
    (pa.dictionary(pa.int32(), pa.string()), str),
    (pa.string(), lambda n: f" {n}.0 "),
    (pa.string(), lambda n: f"{{é {n}}}"),
    (pa.int64(), lambda n: 2**53 + n),
    (pa.int64(), lambda n: -(2**62) + n),
    (pa.uint64(), lambda n: 2**63 + n),
    (NONE, lambda n: None),
)
TEXTS: tuple[tuple[pa.DataType, Make], ...] = (
    (pa.list_(pa.string()), lambda n: ["a", None, f"b {n}"]),
    (pa.large_list(pa.string()), lambda n: [f"b {n}"] if n % 3 else []),
    (pa.list_(pa.string(), 2), lambda n: [f"x {n}", "y"] if n % 3 else None),
    (pa.list_(pa.int64()), lambda n: [n, n]),
    (pa.list_(pa.float64()), lambda n: [n, n + 0.5]),
    (pa.list_(NONE), lambda n: [None]),
    (pa.list_(pa.dictionary(pa.int8(), pa.string())), lambda n: [f"d {n % 7}"]),
    (pa.dictionary(pa.int8(), pa.string()), lambda n: f"d {n % 7}"),
    (pa.int32(), int),
    (pa.float64(), lambda n: n + 0.25 if n % 3 else float("nan")),
    (pa.decimal128(12, 2), lambda n: Decimal(n)),
    (pa.large_string(), lambda n: f"\0zero {n}"),
    (NONE, lambda n: None),
)
TIMES: tuple[tuple[pa.DataType, Make], ...] = (
    *((t, lambda n: START + n) for t in (pa.int32(), pa.int64(), pa.uint32(), pa.uint64())),
    (pa.float64(), lambda n: START + n + 0.25),
    (pa.float32(), lambda n: float(START + 1024 * n)),
    (pa.decimal128(12, 2), lambda n: Decimal(START + n)),
    (pa.string(), lambda n: str(START + n)),
    (pa.dictionary(pa.int32(), pa.string()), lambda n: str(START + n)),
    *((pa.timestamp(unit), _naive) for unit in ("s", "ms", "us", "ns")),
    *((pa.timestamp(unit, zone), _moment) for unit in ("ms", "us") for zone in ("UTC", KOLKATA)),
    *((t, lambda n: _naive(n * 90).date()) for t in (pa.date32(), pa.date64())),
    (pa.string(), lambda n: _moment(n).isoformat()),
    (NONE, lambda n: None),
)
# Types that are neither an id, nor a text, nor a time.
NEVER: tuple[tuple[pa.DataType, Make], ...] = (
    (pa.binary(), lambda n: b"%d" % n),
    (pa.large_binary(), lambda n: b"%d" % n),
    (pa.binary(4), lambda n: b"%04d" % (n % 9999)),
    (pa.bool_(), lambda n: n % 2 == 0),
    (pa.struct([("a", pa.int64())]), _struct),
    (pa.list_(pa.list_(pa.string())), lambda n: [["a"]]),
    (pa.list_(pa.struct([("a", pa.int64())])), lambda n: [_struct(n)]),
    (pa.list_(pa.bool_()), lambda n: [True]),
    (pa.map_(pa.string(), pa.int64()), lambda n: [("a", n)]),
    (pa.duration("ms"), lambda n: datetime.timedelta(seconds=n)),
    (pa.time32("s"), lambda n: datetime.time(n % 24)),
    (pa.time64("us"), lambda n: datetime.time(n % 24)),
)
KINDS = {"user": IDS, "item": IDS, "ts": TIMES, "title": TEXTS, "feat": TEXTS, "desc": TEXTS}


def make(rng: random.Random, table: str) -> tuple[bytes, Reading | None, str]:
    """A Parquet file with one column of an odd type, what it says, and what the type is.

    None: it has to be refused. Items are numbered from 100, users from 50.
    """
    if table == "interactions":
        places = {"user": lambda n: 50 + n % 8, "item": lambda n: 100 + n % 12, "ts": lambda n: n}
        plain: dict[str, Make] = {"user": str, "item": str, "ts": lambda n: str(START + n)}
        num_rows = 40
    else:
        places = {"item": lambda n: 100 + n, "title": int, "feat": int, "desc": int}
        plain = {"item": str, "title": lambda n: f"T {n}", "feat": str, "desc": str}
        num_rows = 12
    column = rng.choice(list(places))
    is_never = rng.random() < 0.25
    kind, value = rng.choice(NEVER if is_never else KINDS[column])
    has_nulls = rng.random() < 0.3
    arrays = {}
    for name, place in places.items():
        made = value if name == column else plain[name]
        values = [made(place(n)) for n in range(num_rows)]
        if name == column and has_nulls:
            values = [None if n % 5 == 4 else found for n, found in enumerate(values)]
        arrays[name] = pa.array(values, kind if name == column else pa.string())
    odd_kind, odd = rng.choice(NEVER)
    arrays["extra"] = pa.array([odd(n) for n in range(num_rows)], odd_kind)
    content = pa.table(arrays)
    what = f"column {column} of type {kind}"
    return _file(rng, content), None if is_never else reading(content), what


def reading(content: pa.Table) -> Reading:
    """What a table says, row by row."""
    records: dict[int, Fields] = dict(enumerate(content.to_pylist(), 1))
    return Reading(range(1, content.num_rows + 1), records, frozenset())


def read_otherwise(data: bytes) -> Reading | None:
    """What another reader makes of a file: a damaged footer may describe other columns."""
    try:
        return reading(pl.read_parquet(io.BytesIO(data)).to_arrow())
    except (Exception, pl.exceptions.PanicException):
        return None


def _file(rng: random.Random, content: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(
        content,
        stream,
        row_group_size=rng.choice([5, 1000]),
        compression=rng.choice(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
        data_page_version=rng.choice(["1.0", "2.0"]),
        use_dictionary=rng.choice([True, False]),
        write_statistics=rng.choice([True, False]),
        write_page_checksum=True,
    )
    return stream.getvalue()


def shape(rng: random.Random, table: str) -> tuple[bytes, Reading | None, str]:
    """Files with too few rows or columns, or a column twice."""
    data = make(rng, table)[0]
    content = pq.read_table(io.BytesIO(data)).select(["item"])
    which = rng.randrange(4)
    if which == 0:
        empty = pq.read_table(io.BytesIO(data)).slice(0, 0)
        return _file(rng, empty), reading(empty), "no rows"
    if which == 1:
        return _file(rng, content), None, "only the column of items"
    if which == 2:
        twice = pq.read_table(io.BytesIO(data)).append_column("item", content["item"])
        return _file(rng, twice), None, "the column of items twice"
    return _file(rng, pa.table({})), None, "no columns"


HARM: tuple[damage.Damage, ...] = (
    damage.flip_bits, damage.flip_bits, damage.insert_bytes, damage.delete_bytes,
    damage.repeat_bytes, damage.cut, damage.lose_start, damage.zeros, damage.empty,
)  # fmt: skip
