"""The Parquet tables that stages exchange: one checked schema each."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recg_core.errors import UserError
from recg_core.files import atomic_path


@dataclass(frozen=True)
class Table:
    """A table's name and columns, checked on every write and read."""

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType]]

    def write(self, frame: pl.DataFrame, path: Path) -> None:
        """Write `frame` to `path` atomically.

        Raises:
            UserError: when its columns are not the table's, in order and type.
        """
        self._check(frame, path)
        with atomic_path(path) as temporary:
            frame.write_parquet(temporary, compression="zstd")

    def read(self, path: Path) -> pl.DataFrame:
        """Read `path`.

        Raises:
            UserError: when it is missing, not Parquet, or its columns are not the table's.
        """
        try:
            frame = pl.read_parquet(path)
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file; run the stage that writes it") from error
        except pl.exceptions.PolarsError as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from error
        self._check(frame, path)
        return frame

    def _check(self, frame: pl.DataFrame, path: Path) -> None:
        expected = {name: _instance(dtype) for name, dtype in self.columns.items()}
        if dict(frame.schema) != expected or frame.columns != list(expected):
            raise UserError(
                f"{path}: is no {self.name} table; expected columns {_text(expected)}, "
                f"found {_text(dict(frame.schema))}"
            )


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def _text(columns: dict[str, pl.DataType]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in columns.items())


ITEMS = Table(
    "items",
    {
        "item_idx": pl.Int32,  # 1..N; 0 is padding everywhere
        "item_id": pl.String,
        "title": pl.String,
        "features": pl.String,
        "description": pl.String,
    },
)
SEQUENCES = Table(
    "sequences",
    {
        "user_idx": pl.Int32,  # 0..U-1
        "user_id": pl.String,
        "item_idx": pl.List(pl.Int32),  # oldest first
        "timestamp": pl.List(pl.Int64),  # ms, non-decreasing
        "train_length": pl.Int32,  # the leading items that training may use
        "valid_position": pl.Int32,  # of the validation item in the list; -1: the user has none
        "test_position": pl.Int32,  # of the test item in the list; -1: the user has none
    },
)
RANKS = Table(
    "ranks",
    {
        "seed": pl.Int32,
        "user_idx": pl.Int32,
        "num_candidates": pl.Int32,  # the test item and all items outside the user's history
        "num_higher": pl.Int32,  # candidates that score above the test item
        "num_ties": pl.Int32,  # other candidates that score the same
    },
)
