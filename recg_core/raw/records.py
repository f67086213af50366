"""Raw interactions and items of any format, as checked frames of bounded size.

`line` is unique in a table of several files; `rejects` says which line of which file it is.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from tqdm import tqdm

from recg_core.raw.formats import FORMATS, check_columns
from recg_core.raw.rejects import FILE_LINES
from recg_core.raw.source import TEXT_ROLES, RawTable, TimestampUnit
from recg_core.raw.values import canonical, parse_times

INTERACTION_ROLES = ("user_id", "item_id", "timestamp")


def read_interactions(
    folder: Path, table: RawTable, unit: TimestampUnit, file: int | None = None
) -> Iterator[pl.DataFrame]:
    """Read interactions as frames (line, user_id, item_id, timestamp in ms, rating, reason).

    Every line of the files is one row, in order. `reason` is null for a usable row and names what
    is wrong with it otherwise. With the unit `order` and no column for it, a line's number is its
    timestamp. `rating` is Float64, null where the table has none.

    Args:
        file: the number of the one file to read; None: all.

    Raises:
        UserError: when a file as a whole cannot be read.
    """
    for frame in _frames(folder, table, INTERACTION_ROLES, file):
        if "timestamp" in table.columns:
            times, wrong = parse_times(frame["timestamp"], unit)
        else:
            times, wrong = frame["line"], pl.Series([None], dtype=pl.String)
        reason = pl.coalesce("reason", *map(_wrong_id, ("user_id", "item_id")), wrong.alias("w"))
        rating = pl.col("rating") if "rating" in frame.columns else pl.lit(None)
        yield frame.select(
            "line",
            "user_id",
            "item_id",
            times.alias("timestamp"),
            rating.cast(pl.Float64, strict=False).fill_nan(None).alias("rating"),
            reason=reason,
        )


def read_items(folder: Path, table: RawTable) -> Iterator[pl.DataFrame]:
    """Read items as frames (line, item_id, title, features, description, …, reason).

    As `read_interactions`; the texts are as found (String, null where missing). Other roles of the
    table are texts too and follow in the table's order.
    """
    for frame in _frames(folder, table, ("item_id", *TEXT_ROLES)):
        yield frame.with_columns(reason=pl.coalesce("reason", _wrong_id("item_id")))


def _wrong_id(role: str) -> pl.Expr:
    """What is wrong with an id, null if nothing is. U+FFFD stands for a letter that was lost."""
    name, column = role.removesuffix("_id"), pl.col(role)
    return (
        pl.when(column.is_null())
        .then(pl.lit(f"missing_{name}"))
        .when(column.str.contains(r"[\r\n]"))
        .then(pl.lit(f"{name}_of_several_lines"))
        .when(column.str.contains(r"\x{FFFD}|\x00"))
        .then(pl.lit(f"{name}_not_text"))
    )


def _frames(
    folder: Path, table: RawTable, roles: tuple[str, ...], file: int | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of (line, *roles, other roles, reason), with what the format tells as the reason."""
    absent = [pl.lit(None, pl.String).alias(role) for role in roles if role not in table.columns]
    others = [role for role in table.columns if role not in roles]
    for number, name in enumerate(table.files):
        if file not in (None, number):
            continue
        path = folder / name
        if table.format != "jsonl":  # whose objects have the keys that they have
            check_columns(path, table.format, table.columns, table.layout)
        size = path.stat().st_size
        with tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            read = FORMATS[table.format].read
            for frame in read(path, table.columns, table.layout, bar.update):
                ids = [canonical(frame[role]) for role in ("user_id", "item_id") if role in frame]
                yield frame.with_columns(
                    *absent, *ids, pl.col("line") + number * FILE_LINES
                ).select("line", *roles, *others, "reason")
