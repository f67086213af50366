"""Frames on disk instead of in memory: streams of Arrow batches that are read back in parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

# Each part of the users is loaded alone: a part of a hundred million interactions takes some
# hundred megabytes.
NUM_PARTS = 64


class FrameSpill:
    """Frames of one schema, appended to a file and read back one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def append(self, frame: pl.DataFrame) -> None:
        """Write a frame; all must have the same columns."""
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pa.ipc.new_stream(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish writing; needed before reading."""
        if self._writer is not None:
            self._writer.close()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The batches, in the order of writing; none when nothing was written."""
        if self._writer is None:
            return
        with pa.OSFile(str(self._path)) as stream, pa.ipc.open_stream(stream) as reader:
            for batch in reader:
                yield pl.DataFrame(pl.from_arrow(batch))


class UserSpill:
    """Interactions on disk, divided by user: all rows of a user are in the same part.

    Which part a user falls into is arbitrary, so nothing may depend on it.
    """

    def __init__(self, folder: Path) -> None:
        self._parts = [FrameSpill(folder / f"users-{part}.arrow") for part in range(NUM_PARTS)]

    def __enter__(self) -> "UserSpill":
        return self

    def __exit__(self, *error: object) -> None:
        for part in self._parts:
            part.close()

    def append(self, frame: pl.DataFrame) -> None:
        """Divide a frame with a `user_id` column."""
        parts = (frame["user_id"].hash(seed=0) % NUM_PARTS).to_numpy()
        order = np.argsort(parts, kind="stable")
        divided = frame[order]
        ends = np.cumsum(np.bincount(parts, minlength=NUM_PARTS))
        start = 0
        for part, end in zip(self._parts, ends.tolist(), strict=True):
            if end > start:
                part.append(divided[start:end])
            start = end

    def parts(self) -> Iterator[pl.DataFrame]:
        """Each part that has any row, its rows in the order of appending."""
        for part in self._parts:
            if frames := list(part.frames()):
                yield pl.concat(frames, rechunk=True)
