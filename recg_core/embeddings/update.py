"""Embeddings where others read them: complete or as before, made in a folder that goes on."""

from pathlib import Path

import polars as pl

from recg_core.base.files import check_replaceable, link_or_copy, replaced_folder
from recg_core.domains.shards import MANIFEST_NAME, Manifest
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders.base import Encoder


def update_embeddings(
    items: pl.DataFrame,
    encoder: Encoder,
    out: Path,
    work: Path,
    config: EncodeConfig,
    max_minutes: float | None = None,
) -> Manifest | None:
    """Make `out` hold exactly the embeddings of `items`; until they are complete it stays as it is.

    Args:
        out: replaced as a whole. What its shards hold already is not encoded again.
        work: where shards are made, by `encode_items`, and kept for the next call: `out` may be
            deleted meanwhile. The files of both are the same where the disk has hard links.
        max_minutes: as in `encode_items`.

    Returns:
        The manifest; None when time ran out. A later call goes on from there.

    Raises:
        UserError: as `encode_items` does, and when `out` holds something else than embeddings.
    """
    check_replaceable(out, MANIFEST_NAME)
    manifest = encode_items(items, encoder, work, config, max_minutes, known=(out,))
    if manifest is not None:
        with replaced_folder(out, MANIFEST_NAME) as folder:
            for name in (*(entry.name for entry in manifest.shards), MANIFEST_NAME):
                link_or_copy(work / name, folder / name)
    return manifest
