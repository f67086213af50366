"""Catalogues and encoders without a model, light enough for worker processes to import."""

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.encoders.base import Advance


def items_frame(ids: Sequence[str], titles: Sequence[str] | None = None) -> pl.DataFrame:
    """A catalogue whose texts are its titles; by default the ids."""
    return pl.DataFrame(
        {
            "item_idx": range(1, len(ids) + 1),
            "item_id": ids,
            "title": ids if titles is None else titles,
            "features": [""] * len(ids),
            "description": [""] * len(ids),
        },
        schema=ITEMS.columns,
    )


class CountingEncoder:
    """Vectors from the hash of the text; remembers what it was asked to encode."""

    template = "{title}"
    libraries: tuple[str, ...] = ("numpy",)

    def __init__(self, version: int = 1, stop_at: int | None = None) -> None:
        self.version = version
        self.stop_at = stop_at  # raise KeyboardInterrupt at this call of encode
        self.calls = 0
        self.texts: list[str] = []

    def identity(self) -> dict[str, Any]:
        return {"kind": "counting", "version": self.version}

    def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.texts += texts
        return np.array([self.vector(text) for text in texts], dtype=np.float32)

    def vector(self, text: str) -> list[float]:
        digest = hashlib.sha256(f"{self.version}{text}".encode()).digest()
        return [1.0 + byte / 256 for byte in digest[:4]]


class DyingEncoder(CountingEncoder):
    """Kills the process that comes first to a text, when it has told that all were done."""

    def __init__(self, text: str, died: Path) -> None:
        super().__init__()
        self.fatal, self.died = text, died

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        if self.fatal in texts and not self.died.exists():
            if advance is not None:
                advance(len(texts))
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)


class WatchedEncoder(CountingEncoder):
    """Goes on after the first text of a list only when somebody has seen that one is done."""

    def __init__(self, seen: Path) -> None:
        super().__init__()
        self.seen = seen

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        assert advance is not None
        advance(1)
        patience = time.monotonic() + 60
        while not self.seen.exists():
            if time.monotonic() > patience:
                raise UserError("nobody saw that the first text is done")
            time.sleep(0.01)
        return super().encode(texts)


class RefusingEncoder(CountingEncoder):
    def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
        raise UserError("the model is no model")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
