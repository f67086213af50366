"""What a folder of embeddings is to hold, what of it is there, and what has to be computed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recg_core.base.errors import UserError
from recg_core.domains.shards import fingerprint_of, read_shard, shard_name
from recg_core.encoders.base import Encoder
from recg_core.encoders.text import render_texts, text_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be: its items, their texts' digests, and the name that follows from them.

    Only digests of the texts are kept: a text is rendered again when it is needed.
    """

    name: str
    items: pl.DataFrame
    text_sha256: list[str]
    # Rows whose texts no shard holds and no plan before. Each text so belongs to one plan, whatever
    # was finished before: an interrupted run encodes the same texts together as an unbroken one.
    new_rows: list[int]

    def new_texts(self, template: str, step: int = 1) -> list[str]:
        """The texts of the new rows, or of every `step`-th of them."""
        return render_texts(self.items[self.new_rows[::step]], template)


@dataclass(frozen=True)
class Layout:
    """The shards of all items, in the order of `item_idx`, and what is on disk already."""

    plans: list[ShardPlan]
    missing: list[ShardPlan]  # those that the folder lacks
    num_new: int  # texts to encode
    places: dict[str, Path]  # a shard for every text that is known, here or in other folders
    unusable: list[Path]  # shards of the folder that are damaged, or of another encoder
    identity: dict[str, Any]  # of the encoder
    fingerprint: str


def lay_out(
    items: pl.DataFrame, encoder: Encoder, folder: Path, rows_per_shard: int, others: Sequence[Path]
) -> Layout:
    """Plan the shards of `items`, and read and check every shard there is; nothing is changed.

    Args:
        others: folders whose shards count for their vectors alone.

    Raises:
        UserError: when there is no item.
    """
    if items.is_empty():
        raise UserError(f"{folder}: there are no items to encode")
    identity = encoder.identity()
    fingerprint = fingerprint_of(identity)
    usable: dict[str, Path] = {}
    places: dict[str, Path] = {}
    unusable = []
    for path in (path for place in (folder, *others) for path in sorted(place.glob("*.parquet"))):
        if path.name in usable:  # equal names have equal texts
            continue
        texts = _texts_of(path, fingerprint)
        if texts is not None:
            usable[path.name] = path
            for key in texts:
                places.setdefault(key, path)
        elif path.parent == folder:
            unusable.append(path)
    plans, missing = [], []
    taken = set(places)
    for index, rows in enumerate(items.sort("item_idx").iter_slices(rows_per_shard)):
        keys = [text_sha256(text) for text in render_texts(rows, encoder.template)]
        name = shard_name(index, fingerprint, rows["item_id"].to_list(), keys)
        new_rows = []
        for row, key in enumerate(keys):
            if key not in taken:
                taken.add(key)
                new_rows.append(row)
        plans.append(ShardPlan(name, rows, keys, new_rows))
        if usable.get(name) != folder / name:
            missing.append(plans[-1])
    num_new = sum(len(plan.new_rows) for plan in missing)
    return Layout(plans, missing, num_new, places, unusable, identity, fingerprint)


def _texts_of(path: Path, fingerprint: str) -> list[str] | None:
    """The digests of the texts of an intact shard of that encoder; None for any other."""
    try:
        found, shard = read_shard(path)
    except UserError as error:
        logger.warning("not used: %s", error)
        return None
    return shard.text_sha256 if found == fingerprint else None
