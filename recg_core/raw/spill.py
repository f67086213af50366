"""Frames on disk instead of in memory: streams of Arrow batches that are read back in parts."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

Columns = dict[str, pl.DataType | type[pl.DataType]]


class FrameSpill:
    """Frames of one schema, appended to a file and read back one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: Columns = {}  # of what has been written
        self._writer: Any = None

    def append(self, frame: pl.DataFrame) -> None:
        """Write a frame; all must have the same columns."""
        table = _arrow(frame)
        if self._writer is None:
            self.columns = dict(frame.schema)
            self._writer = pa.ipc.new_stream(self.path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish writing; needed before reading."""
        if self._writer is not None:
            self._writer.close()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The batches, in the order of writing; none when nothing was written."""
        if self._writer is None:
            return
        with pa.OSFile(str(self.path)) as stream, pa.ipc.open_stream(stream) as reader:
            for batch in reader:
                yield pl.DataFrame(pl.from_arrow(batch))


class DividedSpill:
    """Rows of one schema on disk, divided into parts of which each is read back alone.

    What it holds in memory is where the rows are: it can be sent to another process.
    """

    def __init__(self, path: Path, columns: Columns, num_parts: int) -> None:
        self.num_parts = num_parts
        self._path = path
        self._columns = columns
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(num_parts)]  # start, size

    def append(self, frame: pl.DataFrame, parts: np.ndarray) -> None:
        """Write every row of `frame` to its part, in order.

        Args:
            parts: int [rows], 0..num_parts - 1.
        """
        order = np.argsort(parts.astype(np.uint16), kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=self.num_parts)).tolist()
        table = _arrow(frame.select(list(self._columns))[order].rechunk())
        start = 0
        with self._path.open("ab") as stream:
            for places, end in zip(self._places, ends, strict=True):
                for batch in table[start:end].to_batches():
                    content = batch.serialize()
                    places.append((stream.tell(), content.size))
                    stream.write(content)
                start = end

    def part(self, part: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of a part, in the order of writing; of them the given columns."""
        empty = pl.DataFrame(schema=self._columns)
        schema, batches = _arrow(empty).schema, []
        if places := self._places[part]:
            with pa.memory_map(str(self._path)) as stream:
                for start, size in places:
                    stream.seek(start)
                    batches.append(pa.ipc.read_record_batch(stream.read_buffer(size), schema))
        table = pa.Table.from_batches(batches, schema)
        return pl.DataFrame(pl.from_arrow(table.select(columns or list(self._columns))))

    def delete(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def in_batches(frames: Iterable[pl.DataFrame], num_rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `num_rows` rows, the last one of fewer."""
    waiting: list[pl.DataFrame] = []
    missing = num_rows
    for frame in frames:
        while frame.height >= missing:
            yield pl.concat([*waiting, frame[:missing]], rechunk=True)
            waiting, frame, missing = [], frame[missing:], num_rows
        waiting.append(frame)
        missing -= frame.height
    if missing < num_rows:
        yield pl.concat(waiting, rechunk=True)


def _arrow(frame: pl.DataFrame) -> Any:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
