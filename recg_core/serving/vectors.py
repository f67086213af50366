"""The vectors of a catalogue, kept between runs by the content of its texts."""

from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.files import sha256_json
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged, Sequences
from recg_core.domains.shards import load_embeddings
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders import Encoder
from recg_core.encoders.text import render_texts, text_sha256

ROWS_PER_SHARD = 4096


def encode_texts(
    items: pl.DataFrame, encoder: Encoder, fingerprint: str, cache: Path
) -> np.ndarray:
    """The vectors of items (item_id, title, …), float32 [N, H].

    Args:
        fingerprint: of the encoder.
        cache: holds a folder an encoder with a folder a catalogue. A text that stands in any of
            them is not encoded again.

    Raises:
        UserError: when an item cannot be encoded, or the cache cannot be written.
    """
    ids = items["item_id"].to_list()
    texts = [text_sha256(text) for text in render_texts(items, encoder.template)]
    place = cache / fingerprint[:32]
    folder = place / sha256_json([ids, texts])[:32]
    known = [path for path in place.glob("*") if path != folder]
    numbered = items.with_columns(item_idx=pl.int_range(1, len(items) + 1, dtype=pl.Int32))
    encode_items(numbered, encoder, folder, EncodeConfig(ROWS_PER_SHARD), known=known)
    return load_embeddings(folder, ids)


def as_domain(
    items: pl.DataFrame, text: np.ndarray, text_mean: np.ndarray, fingerprint: str
) -> Domain:
    """A catalogue as what a model ranks: a domain whose interactions nobody looks at."""
    nobody = np.empty(0, dtype=np.int32)
    sequences = Sequences(Ragged(nobody, np.zeros(1, dtype=np.int64)), [], nobody, nobody, nobody)
    return Domain(
        name="",
        sequences=sequences,
        item_ids=items["item_id"].to_list(),
        text=text,
        encoder_fingerprint=fingerprint,
        text_mean=text_mean,
    )
