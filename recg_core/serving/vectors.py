"""The vectors of a catalogue, kept between runs by the content of its texts."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_json
from recg_core.base.mapped import map_rows, write_rows
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged, Sequences
from recg_core.domains.shards import embedding_blocks, read_manifest
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders import Encoder
from recg_core.encoders.text import render_texts, text_sha256

log = logging.getLogger(__name__)

ROWS_PER_SHARD = 4096
MAPPED_FILE = "vectors.safetensors"


def encode_texts(
    items: pl.DataFrame, encoder: Encoder, fingerprint: str, cache: Path, *, reuse: bool
) -> np.ndarray:
    """The vectors of items (item_id, title, …), float16 [N, H], mapped from a file.

    The file holds the numbers of the shards one after the other, so that a catalogue of a million
    items takes memory only for what is being read, which the operating system may take back.

    Args:
        fingerprint: of the encoder.
        cache: holds a folder an encoder with a folder a catalogue.
        reuse: look through all of them for the texts, of which none that stands there is encoded
            again; this reads every vector, which a few new items are not worth.

    Raises:
        UserError: when an item cannot be encoded, or the cache cannot be written.
    """
    ids = items["item_id"].to_list()
    texts = [text_sha256(text) for text in render_texts(items, encoder.template)]
    place = cache / fingerprint[:32]
    folder = place / sha256_json([ids, texts])[:32]
    path = folder / MAPPED_FILE
    if path.is_file():
        try:
            return map_rows(path, "it is made again")
        except UserError as error:
            log.warning("not used: %s", error)
    known = [path for path in place.glob("*") if path != folder] if reuse else []
    numbered = items.with_columns(item_idx=pl.int_range(1, len(items) + 1, dtype=pl.Int32))
    encode_items(numbered, encoder, folder, EncodeConfig(ROWS_PER_SHARD), known=known)
    shape = (len(ids), read_manifest(folder).dim)
    write_rows(path, shape, embedding_blocks(folder, ids))
    return map_rows(path, "delete it and try again")


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
