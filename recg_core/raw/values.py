"""One spelling for every value, whatever the format and the neighbours: ids, texts, times.

Formats bring values as they find them; what of it is an id, a text or a time is decided here.
"""

import re
import unicodedata
from ast import literal_eval
from collections.abc import Callable
from decimal import Decimal

import polars as pl

from recg_core.raw.source import TimestampUnit

# Characters that no reader sees, though Unicode counts them among letters and symbols.
BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
# A value with none of these is written in one way only.
ODD = r"(?s)^$|[^!-~]|^-?[0-9.]+[eE.]|^-0|^(?:nan|NaN)$|^\[.*\]$"
WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
# As printers of floats write them; `12e5` may be the name of something.
LARGE_FLOAT = re.compile(r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{2,3}")
# A list of strings as Python, JSON, pandas and NumPy print it; some of them may be missing.
STRING = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
PRINTED_LIST = re.compile(rf"(?s)\[\s*(?:(?:{STRING}|None|nan|null)(?:\s*,\s*|\s+|(?=\])))*+\]")

NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$"
HOUR, SIXTY = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
ISO_8601 = (
    rf"^(?<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:[T ](?<time>{HOUR}:{SIXTY}(?::{SIXTY})?)"
    rf"(?:[.,](?<fraction>[0-9]+))? ?(?<zone>Z|UTC|GMT|[+-]{HOUR}(?::?{SIXTY})?)?)?$"
)
# For each unit: the least plausible time, the least implausible one, and what is wrong outside.
# They stand for March 1973 and the year 5138: a clock in another unit falls far outside.
TIMESTAMP_BOUNDS = {
    "ms": (10**11, 10**14, "timestamp_in_seconds", "timestamp_too_large"),
    "s": (10**11, 10**14, "timestamp_too_small", "timestamp_in_milliseconds"),
}


def canonical_text(text: str) -> str:
    """The one spelling of an id or a text; "" for what says nothing.

    White space and invisible characters around it go, `7.0` and `7e+00` are `7`, and a printed
    list of strings is its strings.
    """
    text = strip_invisible(text)
    if text.startswith("["):
        text = _of_printed_list(text)
    if text in ("nan", "NaN"):
        return ""
    if whole := WHOLE_FLOAT.fullmatch(text):
        text = whole[1]
    elif LARGE_FLOAT.fullmatch(text):
        number = Decimal(text)
        text = str(int(number)) if number == int(number) else text
    return "0" if text == "-0" else text


def canonical(values: pl.Series) -> pl.Series:
    """`canonical_text` of every value of a String series; null where nothing is left."""
    return change_where(values.str.contains(ODD), values, canonical_text).replace("", None)


def change_where(mask: pl.Series, values: pl.Series, change: Callable[[str], str]) -> pl.Series:
    """`values` with `change` applied where `mask` is true; every distinct value once."""
    positions = mask.arg_true()
    if not len(positions):
        return values
    found = values.gather(positions)
    distinct = found.unique()
    changed = pl.Series([change(value) for value in distinct], dtype=pl.String)
    return values.scatter(positions, found.replace_strict(distinct, changed))


def parse_times(values: pl.Series, unit: TimestampUnit) -> tuple[pl.Series, pl.Series]:
    """Times as integers, and what is wrong with those that are none.

    Args:
        values: a date or a time with or without a zone; or an integer, a float or text: a number
            in `unit`, or ISO 8601 whatever the unit. Without a zone it is UTC.

    Returns:
        Int64 milliseconds since 1970 (with the unit `order`, numbers are taken as they are), null
        where there is none, and String reasons, null where there is a time.
    """
    if values.dtype == pl.String:
        values = canonical(values)
    elif values.dtype.is_float():
        values = values.fill_nan(None)
    numbers, moments = _numbers_and_moments(values)
    number, found = pl.col("number"), pl.col("time")
    if unit == "order":
        is_time, wrong = number.is_null() | (number == number.round(0)), pl.lit(None, pl.String)
        time = number.cast(pl.Int64, strict=False)
    else:
        low, high, too_low, too_high = TIMESTAMP_BOUNDS[unit]
        scaled = (number * 1000).round(0) if unit == "s" else number  # to the millisecond
        is_time = scaled.is_null() | (scaled == scaled.round(0))
        time = scaled.clip(-high, high).cast(pl.Int64)
        wrong = (
            pl.when(found <= 0)
            .then(pl.lit("timestamp_not_positive"))
            .when(found < low)
            .then(pl.lit(too_low))
            .when(found >= high)
            .then(pl.lit(too_high))
        )
    frame = pl.DataFrame({"raw": values, "number": numbers, "moment": moments})
    frame = frame.with_columns(time=pl.when(is_time).then(pl.coalesce("moment", time)))
    reason = (
        pl.when(pl.col("raw").is_null())
        .then(pl.lit("missing_timestamp"))
        .when(found.is_null())
        .then(pl.lit("timestamp_not_time"))
        .otherwise(wrong)
    )
    frame = frame.select(found, reason=reason)
    good = frame.select(pl.when(pl.col("reason").is_null()).then(found)).to_series()
    return good, frame["reason"]


def _numbers_and_moments(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """What of `values` is a number (Int64 or Float64), and what is a moment (Int64 ms)."""
    nothing = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(values))
    if values.dtype.is_temporal():
        return nothing, values.cast(pl.Datetime("ms")).to_physical()
    if values.dtype.is_integer():
        return values.cast(pl.Int64, strict=False), nothing
    if values.dtype.is_float():
        return values.cast(pl.Float64), nothing
    integers = values.str.to_integer(strict=False, dtype=pl.Int64)
    if integers.null_count() == values.null_count():
        return integers, nothing
    is_number = values.str.contains(NUMBER)
    floats = values.to_frame("raw").select(
        pl.when(is_number).then(pl.col("raw").cast(pl.Float64, strict=False))
    )
    return floats.to_series(), _iso_8601(values)


def _iso_8601(values: pl.Series) -> pl.Series:
    """Int64 milliseconds since 1970 of texts in ISO 8601, null for others; UTC without a zone."""
    parts = values.str.extract_groups(ISO_8601).struct.unnest()
    offset = pl.col("zone").str.replace_many({"Z": "", "UTC": "", "GMT": "", ":": ""})
    hours = offset.str.slice(0, 3).str.to_integer(strict=False)
    minutes = (offset.str.slice(0, 1) + offset.str.slice(3)).str.to_integer(strict=False)
    shift = (hours.fill_null(0) * 60 + minutes.fill_null(0)) * 60_000
    clock = pl.col("time").fill_null("00:00")
    clock = pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)
    moment = (pl.col("date") + " " + clock).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    fraction = ("0." + pl.col("fraction")).cast(pl.Float64).fill_null(0.0) * 1000
    return parts.select(moment.dt.epoch("ms") - shift + fraction.floor().cast(pl.Int64)).to_series()


def _of_printed_list(text: str) -> str:
    """The strings of a printed list, joined; other text in brackets as it is."""
    if not PRINTED_LIST.fullmatch(text):
        return text
    try:
        parts = [
            literal_eval(re.sub(r"[\r\n]", " ", part)) for part in re.findall(f"(?s){STRING}", text)
        ]
    except (SyntaxError, ValueError):  # an escape that Python does not know
        return text
    return " ".join(part for part in map(strip_invisible, parts) if part)


def strip_invisible(text: str) -> str:
    """Without what no reader sees at its ends: white space, controls, formats."""
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while end > start and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Zs", "Zl", "Zp") or character in BLANK_LETTERS
