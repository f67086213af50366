"""Raw interactions and items of any format, as checked frames of bounded size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl

from recg_core.raw.blocks import Advance
from recg_core.raw.formats import FORMATS
from recg_core.raw.source import RawFile

INTERACTION_ROLES = ("user_id", "item_id", "timestamp")
ITEM_ROLES = ("item_id", "title", "features", "description")
# For each unit: the least plausible time, the least implausible one, and what is wrong outside.
# They stand for March 1973 and the year 5138: a clock in another unit falls far outside.
TIMESTAMP_BOUNDS = {
    "ms": (10**11, 10**14, "timestamp_in_seconds", "timestamp_too_large"),
    "s": (10**8, 10**11, "timestamp_too_small", "timestamp_in_milliseconds"),
}
# A JSON array or object where an id should be arrives as its text; U+FFFD stands for bytes that
# are no UTF-8.
NO_ID = r"^[\[{]|\x{FFFD}"


def read_interactions(
    folder: Path, raw: RawFile, unit: Literal["ms", "s"], advance: Advance
) -> Iterator[pl.DataFrame]:
    """Read interactions as frames (line, user_id, item_id, timestamp in ms, reason).

    Every line of the file is one row, in order. `reason` is null for a usable row and names what
    is wrong with it otherwise. An id may be a JSON number, which is taken as its text; no text is
    taken for a timestamp, nor is a number with a fraction.

    Args:
        advance: called with the number of bytes of the file that were dealt with.

    Raises:
        UserError: when the file as a whole cannot be read.
    """
    low, high, too_low, too_high = TIMESTAMP_BOUNDS[unit]
    time, found = pl.col("timestamp"), pl.col("reason")
    reason = (
        pl.when(found.is_not_null() & (found != "timestamp_not_integer"))
        .then(found)
        .when(_is_missing("user_id"))
        .then(pl.lit("missing_user"))
        .when(_is_no_id("user_id"))
        .then(pl.lit("user_not_text"))
        .when(_is_missing("item_id"))
        .then(pl.lit("missing_item"))
        .when(_is_no_id("item_id"))
        .then(pl.lit("item_not_text"))
        .when(found.is_not_null())
        .then(found)
        .when(time.is_null())
        .then(pl.lit("missing_timestamp"))
        .when(time <= 0)
        .then(pl.lit("timestamp_not_positive"))
        .when(time < low)
        .then(pl.lit(too_low))
        .when(time >= high)
        .then(pl.lit(too_high))
    )
    scale = 1000 if unit == "s" else 1
    for frame in _frames(folder, raw, INTERACTION_ROLES, advance):
        checked = frame.with_columns(reason=reason)
        yield checked.with_columns(pl.when(pl.col("reason").is_null()).then(time * scale))


def read_items(folder: Path, raw: RawFile, advance: Advance) -> Iterator[pl.DataFrame]:
    """Read items as frames (line, item_id, title, features, description, reason).

    As `read_interactions`; the texts are as found (String or List(String), null where missing).
    """
    found = pl.col("reason")
    reason = (
        pl.when(found.is_not_null())
        .then(found)
        .when(_is_missing("item_id"))
        .then(pl.lit("missing_item"))
        .when(_is_no_id("item_id"))
        .then(pl.lit("item_not_text"))
    )
    for frame in _frames(folder, raw, ITEM_ROLES, advance):
        yield frame.with_columns(reason=reason)


def _is_missing(role: str) -> pl.Expr:
    return pl.col(role).is_null() | (pl.col(role) == "")


def _is_no_id(role: str) -> pl.Expr:
    return pl.col(role).str.contains(NO_ID)


def _frames(
    folder: Path, raw: RawFile, roles: tuple[str, ...], advance: Advance
) -> Iterator[pl.DataFrame]:
    """Frames of (line, *roles, reason), with what only the format can tell as the reason."""
    columns = {role: raw.columns[role] for role in roles if role in raw.columns}
    absent = [pl.lit(None, pl.String).alias(role) for role in roles if role not in columns]
    for frame in FORMATS[raw.format](folder / raw.name, columns, advance):
        yield frame.with_columns(absent).select("line", *roles, "reason")
