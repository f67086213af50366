"""Histories by the numbers of a catalogue's items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recg_core.domains.sequences import Ragged


@dataclass(frozen=True)
class Histories:
    """What users have met, oldest first, by item_idx of a catalogue."""

    user_ids: list[str]
    items: Ragged  # a row a user
    unknown: dict[str, int]  # item ids that the catalogue does not have, and how often they occur


def index_histories(found: pl.DataFrame, item_ids: Sequence[str]) -> Histories:
    """Histories (user_id, item_id) of a catalogue; a user of unknown items alone has an empty row.

    Args:
        found: the rows of a user together, oldest first.
    """
    known = pl.DataFrame({"item_id": item_ids}, schema={"item_id": pl.String})
    known = known.with_row_index("item", offset=1)
    joined = found.join(known, on="item_id", how="left", maintain_order="left")
    by_user = joined.group_by("user_id", maintain_order=True).agg(pl.col("item").drop_nulls())
    lists = by_user["item"]
    offsets = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
    values = lists.explode(empty_as_null=False).to_numpy().astype(np.int32)
    missing = joined.filter(pl.col("item").is_null())["item_id"].value_counts(sort=True)
    return Histories(by_user["user_id"].to_list(), Ragged(values, offsets), dict(missing.rows()))


def one_row(values: np.ndarray) -> Ragged:
    """Histories of a single user."""
    return Ragged(values.astype(np.int32), np.array([0, len(values)], dtype=np.int64))


def left_out(history: np.ndarray) -> Ragged:
    """The history, and the history without its first item, without its second, …: L + 1 rows."""
    length = len(history)
    rows = [history, *(np.delete(history, position) for position in range(length))]
    lengths = [length, *[length - 1] * length]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return Ragged(np.concatenate(rows).astype(np.int32), offsets)
