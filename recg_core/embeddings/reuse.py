"""Vectors that are known already, kept on disk: a large catalogue does not fit into memory."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recg_core.domains.shards import read_shard


class VectorStore:
    """float16 vectors by the digest of their text, in a scratch file that ends with the process."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".", suffix=".tmp")  # noqa: SIM115
        self._rows: dict[str, int] = {}
        self.dim = 0  # until there is a vector

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def add(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Keep one row of `vectors` for each key, none of which is there yet."""
        self.dim = vectors.shape[1]
        self._file.write(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())
        self._rows |= {key: len(self._rows) + i for i, key in enumerate(keys)}

    def take(self, keys: Sequence[str]) -> np.ndarray:
        """The vectors of `keys`, float16 [len(keys), dim]."""
        if not keys:  # an empty file cannot be mapped
            return np.empty((0, self.dim), dtype=np.float16)
        self._file.flush()
        shape = (len(self._rows), self.dim)
        rows = np.memmap(self._file, dtype=np.float16, mode="r", shape=shape)
        return np.asarray(rows[[self._rows[key] for key in keys]])

    def collect(self, wanted: set[str], places: Mapping[str, Path]) -> None:
        """Copy the vectors of those `wanted` texts that have a place in some shard."""
        place_of = {key: places[key] for key in wanted & places.keys()}
        for path in sorted(set(place_of.values())):
            _, shard = read_shard(path)
            row_of = {k: row for row, k in enumerate(shard.text_sha256) if place_of.get(k) == path}
            self.add(list(row_of), shard.embeddings[list(row_of.values())])
