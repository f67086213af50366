"""The Parquet tables that stages exchange: one checked schema each."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed, sealed_path, write_sealed
from recg_core.base.seal import UNSEALED, check_seal

_SEALED = {"seal": UNSEALED}  # key-value metadata of a file


@dataclass(frozen=True)
class Schema:
    """A table's name and columns, checked on every write and read; its files are sealed.

    Args:
        stage: writes the table, named in errors.
        others: the type of further columns that may follow; None: there are none.
        encodings: Parquet encoding by column, where the writer's own choice takes more room.
    """

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType]]
    stage: str
    others: type[pl.DataType] | None = None
    encodings: dict[str, str] | None = None

    def write(self, frame: pl.DataFrame, path: Path) -> None:
        """Write `frame` to `path` atomically; equal frames give equal bytes.

        Raises:
            UserError: when its columns are not the table's, in order and type.
        """
        if self.encodings is None:
            self.write_frames(iter([frame]), path)
            return
        # Imported here: `recg show` writes no table and need not wait for it.
        import pyarrow.parquet as pq

        self._check(frame, str(path))
        content = io.BytesIO()
        pq.write_table(
            frame.to_arrow().replace_schema_metadata(_SEALED), content,
            compression="zstd", column_encoding=self.encodings, use_dictionary=False,
        )  # fmt: skip
        write_sealed(path, content.getvalue())

    def write_frames(self, frames: Iterator[pl.DataFrame], path: Path) -> None:
        """`write` a table that is made piece by piece, of which one is in memory at a time.

        Equal pieces give equal bytes.
        """
        first = next(frames, pl.DataFrame(schema=self.columns))
        self._check(first, str(path))  # before there is a file, which Polars opens beside

        def checked(*_: object) -> Iterator[pl.DataFrame]:
            yield first
            for frame in frames:
                self._check(frame, str(path))
                yield frame

        with sealed_path(path) as temporary:
            register_io_source(checked, schema=first.schema).sink_parquet(
                temporary, compression="zstd", metadata=_SEALED
            )

    def read(self, source: Path | bytes, label: str = "") -> pl.DataFrame:
        """Read a file or its bytes.

        Args:
            label: names the source in errors, which a path does itself.

        Raises:
            UserError: when it is missing, damaged, or its columns are not the table's.
        """
        label, remedy = label or str(source), f"run the {self.stage} stage"
        if isinstance(source, Path):
            content = read_sealed(source, remedy)
        else:
            content = source
            check_seal(content, label, remedy)
        try:
            frame = pl.read_parquet(content)
        except pl.exceptions.PolarsError as error:
            raise UserError(f"{label}: not a readable Parquet file ({error}); {remedy}") from error
        self._check(frame, label)
        return frame

    def _check(self, frame: pl.DataFrame, label: str) -> None:
        expected = pl.Schema(self.columns)
        if self.others is not None:
            for name in frame.columns[len(expected) :]:
                expected.setdefault(name, self.others())
        if frame.schema != expected:
            wanted, found = (
                ", ".join(f"{name} {dtype}" for name, dtype in columns.items())
                for columns in (expected, frame.schema)
            )
            raise UserError(
                f"{label}: is no {self.name} table; expected columns {wanted}, found {found}"
            )


ITEMS = Schema(
    "items",
    {
        "item_idx": pl.Int32,  # 1..N; 0 is padding everywhere
        "item_id": pl.String,
        "title": pl.String,
        "features": pl.String,
        "description": pl.String,
    },
    "preprocess",
    others=pl.String,  # further texts, by the names that templates have for them
)
SEQUENCES = Schema(
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
    "preprocess",
)
# One row a user with a list over seeds: what the seeds share is there once, and small integers in
# streams of equal bytes compress to less than two bytes a rank.
RANKS = Schema(
    "ranks",
    {
        "user_idx": pl.Int32,
        "num_candidates": pl.Int32,  # the test item and all items outside the user's history
        "seed": pl.List(pl.Int32),  # the same for every user; the order of the lists below
        "num_higher": pl.List(pl.Int32),  # candidates that score above the test item
        "num_ties": pl.List(pl.Int32),  # other candidates that score the same
    },
    "evaluate or baselines",
    encodings={
        "user_idx": "DELTA_BINARY_PACKED",
        "num_candidates": "BYTE_STREAM_SPLIT",
        "seed.list.element": "BYTE_STREAM_SPLIT",
        "num_higher.list.element": "BYTE_STREAM_SPLIT",
        "num_ties.list.element": "BYTE_STREAM_SPLIT",
    },
)
LISTS = Schema(
    "lists",
    {
        "user_idx": pl.Int32,
        "items": pl.List(pl.Int32),  # item_idx that the first seed recommends, the best first
        "diversity": pl.Float32,  # 1 less the mean cosine of two of their texts
    },
    "evaluate or baselines",
)
# What the slices of an evaluation go by, for one source and the test users of one target.
SLICES = Schema(
    "slices",
    {
        "user_idx": pl.Int32,
        "history_length": pl.Int32,  # items before the test item
        "popularity": pl.Int32,  # of the test item: its count in the target's training histories
        "head": pl.Boolean,  # whether the test item is among the target's most popular items
        "source_similarity": pl.Float32,  # cosine of its text to the nearest other source item
    },
    "slices",
)
