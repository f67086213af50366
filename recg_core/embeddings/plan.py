"""What encoding items will take, from a short timed sample, before it is begun."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.domains.shards import read_shard
from recg_core.embeddings.encode import EncodeConfig
from recg_core.embeddings.layout import Layout, lay_out
from recg_core.encoders.base import Encoder, TokenEncoder

_SAMPLE_TEXTS = 10_000  # whose tokens are counted
_TIMED_TEXTS = 32  # encoded at once while time is taken, often enough to take this long:
_TIMED_SECONDS = 10.0
_ROW_BYTES = 100  # of a shard beside the vector: digest and item id


@dataclass(frozen=True)
class EncodingPlan:
    """What an encoding will take."""

    items: int
    shards: int
    missing_shards: int
    new_texts: int
    tokens: dict[int, int]  # of the sampled texts: their number by tokens, rounded up to 2^n
    mean_tokens: float  # a text; 0 for an encoder without tokens
    texts_per_second: float  # of all workers together; 0 when there is nothing to encode
    disk_bytes: int  # that the missing shards will take at most

    @property
    def minutes(self) -> float:
        """The time for all new texts, loading the model left out."""
        return self.new_texts / self.texts_per_second / 60 if self.new_texts else 0.0

    def lines(self) -> list[str]:
        """For people."""
        found = [
            f"{self.items:,} items in {self.shards} shards, {self.missing_shards} to write: "
            f"{self.disk_bytes / 1e6:,.1f} MB at most",
            f"{self.new_texts:,} texts to encode: {self.minutes:,.1f} minutes "
            f"({self.texts_per_second:,.1f} texts/s)",
        ]
        if self.mean_tokens:
            found.append(f"{self.mean_tokens:.0f} tokens a text, of a sample:")
            sampled = sum(self.tokens.values())
            for limit, count in self.tokens.items():
                bar = "#" * round(40 * count / sampled)
                found.append(f"{f'up to {limit}':>12} {count:7,} {bar}")
        return found


def plan_encoding(
    items: pl.DataFrame,
    encoder: Encoder,
    folder: Path,
    config: EncodeConfig,
    known: Sequence[Path] = (),
) -> EncodingPlan:
    """Count what `encode_items` would do, and time a sample; nothing is changed on disk.

    Raises:
        UserError: when there is no item, or the encoder fails; its self-test runs as well.
    """
    layout = lay_out(items, encoder, folder, config.rows_per_shard, known)
    lengths = np.zeros(0, dtype=np.int64)
    speed, dim = 0.0, 0
    if layout.num_new:
        texts = _sample(layout, encoder.template)
        if isinstance(encoder, TokenEncoder):
            lengths = np.array([len(ids) for ids in encoder.tokenize(texts).sequences])
        speed, dim = _time(encoder, texts, lengths)
    elif layout.missing:
        _, shard = read_shard(next(iter(layout.places.values())))
        dim = shard.embeddings.shape[1]
    limits, counts = np.unique(2 ** np.ceil(np.log2(lengths)).astype(int), return_counts=True)
    return EncodingPlan(
        items=len(items),
        shards=len(layout.plans),
        missing_shards=len(layout.missing),
        new_texts=layout.num_new,
        tokens=dict(zip(limits.tolist(), counts.tolist(), strict=True)),
        mean_tokens=float(lengths.mean()) if len(lengths) else 0.0,
        texts_per_second=speed * config.workers,
        disk_bytes=sum(len(plan.items) for plan in layout.missing) * (2 * dim + _ROW_BYTES),
    )


def _sample(layout: Layout, template: str) -> list[str]:
    """New texts at equal distances, in random order."""
    step = max(1, layout.num_new // _SAMPLE_TEXTS)
    texts = [text for plan in layout.missing for text in plan.new_texts(template, step)]
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[index] for index in order]


def _time(encoder: Encoder, texts: list[str], lengths: np.ndarray) -> tuple[float, int]:
    """Texts per second, and the size of a vector.

    Where there are tokens, the few timed texts stand for as many tokens as they have.
    """
    dim = encoder.encode(texts[:_TIMED_TEXTS]).shape[1]  # loads the model
    started, seconds, timed = time.monotonic(), 0.0, 0
    with tqdm(total=len(texts), unit="text", desc="sample", disable=None) as bar:
        while seconds < _TIMED_SECONDS and timed < len(texts):
            encoder.encode(texts[timed : timed + _TIMED_TEXTS], bar.update)
            timed = min(timed + _TIMED_TEXTS, len(texts))
            seconds = time.monotonic() - started
    stands_for = lengths[:timed].sum() / lengths.mean() if len(lengths) else timed
    return float(stands_for) / seconds, dim
