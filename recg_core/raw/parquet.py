"""Parquet: columns of any type that can be an id, a text or a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recg_core.base.errors import UserError
from recg_core.raw.blocks import Advance
from recg_core.raw.source import SCALAR_ROLES, TextLayout

CHUNK_ROWS = 1 << 16
NUMBER_ROLES = ("timestamp", "rating")
LARGEST_EXACT_FLOAT = float(1 << 53)


READ_ERRORS = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    UnicodeError,
)


def parquet_columns(path: Path, layout: TextLayout) -> list[str]:
    """The columns of the schema.

    Raises:
        UserError: when the file is no Parquet.
    """
    return list(_open(path).schema_arrow.names)


def read_parquet(
    path: Path, columns: Mapping[str, str], layout: TextLayout, advance: Advance
) -> Iterator[pl.DataFrame]:
    """One row a row; see `recg_core.raw.formats`.

    Raises:
        UserError: when a column's type cannot be its role's, or the file is no Parquet.
    """
    parquet = _open(path)
    size, num_rows = path.stat().st_size, parquet.metadata.num_rows
    line = 1
    try:
        for batch in parquet.iter_batches(CHUNK_ROWS, columns=sorted(set(columns.values()))):
            found = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
            values = [_typed(path, role, found[column]) for role, column in columns.items()]
            frame = pl.DataFrame(values).with_columns(reason=pl.lit(None, pl.String))
            frame = frame.with_row_index("line", offset=line)
            yield frame.with_columns(pl.col("line").cast(pl.Int64))
            line += frame.height
            advance(size * frame.height // max(num_rows, 1))
    except READ_ERRORS as error:
        raise _damaged(path, error) from error
    if line != num_rows + 1:  # where a page's header is damaged, the rest is taken for empty
        raise _damaged(path, f"{line - 1} of its {num_rows} rows are there")


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except READ_ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> UserError:
    found = str(error).partition("\n")[0]
    return UserError(f"{path}: not a readable Parquet file ({found}); fetch or write it again")


def _typed(path: Path, role: str, values: pl.Series) -> pl.Series:
    """A column as text, the texts of a list joined; times and ratings also as numbers."""
    column, values = values.name, values.alias(role)
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    dtype = values.dtype
    if role not in SCALAR_ROLES and isinstance(dtype, pl.List):
        texts = _as_text(pl.element(), dtype.inner)
        if texts is not None:
            return values.list.eval(texts).list.join(" ", ignore_nulls=True)
    elif role in NUMBER_ROLES and dtype.is_decimal():
        return values.cast(pl.Float64)
    elif role in NUMBER_ROLES and (dtype.is_numeric() or dtype in (pl.Date, pl.Datetime)):
        return values
    elif (texts := _as_text(pl.col(role), dtype)) is not None:
        return values.to_frame().select(texts).to_series()
    raise UserError(f"{path}: column '{column}' is {dtype}, which is no {role}")


def _as_text(values: pl.Expr, dtype: Any) -> pl.Expr | None:
    """Strings, and numbers as they are written elsewhere; None for other types."""
    if dtype.is_float():
        number = values.cast(pl.Float64).fill_nan(None)
        is_whole = (number == number.round(0)) & (number.abs() <= LARGEST_EXACT_FLOAT)
        whole = number.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(is_whole).then(whole).otherwise(number.cast(pl.String))
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)
    return values.cast(pl.String) if is_text or dtype.is_decimal() or dtype.is_integer() else None
