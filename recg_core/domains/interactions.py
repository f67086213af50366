"""Interactions from raw records to numbers, part by part of the users."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from recg_core.domains.kcore import k_core
from recg_core.raw.items import RawItems
from recg_core.raw.rejects import Rejects
from recg_core.raw.spill import UserSpill


@dataclass(frozen=True)
class Core:
    """n interactions as numbers: a user's together, by time, ties in the order of the input."""

    users: np.ndarray  # int32 [n], positions in user_ids
    items: np.ndarray  # int32 [n], numbers of raw items
    timestamps: np.ndarray  # int64 [n], ms
    user_ids: pl.Series  # some of them have no interaction left


@dataclass(frozen=True)
class Dropped:
    """Usable interactions that are not in the core, by reason, and what the k-core began with."""

    low_rating: int
    repeated: int
    no_text: int
    k_core: int
    num_users_before_core: int
    num_items_before_core: int


@dataclass(frozen=True)
class Wanted:
    """Which usable interactions count.

    Attributes:
        min_rating: the least rating that counts; None: all, rated or not.
        repeats: of a user's interactions with the same item the first alone or all.
        k_core: interactions that every user and every item must have; 1 keeps all.
    """

    min_rating: float | None
    repeats: Literal["first", "all"]
    k_core: int


def divide_by_user(
    frames: Iterable[pl.DataFrame], spill: UserSpill, rejects: Rejects, min_rating: float | None
) -> int:
    """Move interactions (see `records.read_interactions`) to `spill`.

    Args:
        rejects: takes the unusable lines, with a `min_rating` also those without a rating.

    Returns:
        How many have a rating below `min_rating`.
    """
    num_low = 0
    rating = pl.col("rating")
    with spill:
        for frame in frames:
            if min_rating is not None:
                unrated = pl.when(rating.is_null()).then(pl.lit("missing_rating"))
                frame = frame.with_columns(reason=pl.coalesce("reason", unrated))
            good = rejects.split(frame)
            if min_rating is not None:
                num_usable = good.height
                good = good.filter(rating >= min_rating)
                num_low += num_usable - good.height
            spill.append(good.drop("rating"))
    return num_low


def find_core(
    parts: Iterable[pl.DataFrame], raw_items: RawItems, wanted: Wanted, rejects: Rejects
) -> tuple[Core, Dropped]:
    """Drop repeated pairs, items without text and what is outside the k-core, in this order.

    Args:
        parts: frames (line, user_id, item_id, timestamp), all rows of a user in the same one.
        rejects: takes the lines whose item has no metadata (`unknown_item`).

    Returns:
        The core, and what was dropped, ratings left out.
    """
    # By numbers alone: the ids of millions of users that occur once would fill the memory.
    users, items, timestamps, user_ids = [], [], [], [pl.Series("user_id", [], pl.String)]
    repeated = no_text = few = num_users = total_users = 0
    seen = np.zeros(raw_items.items.height, dtype=bool)
    for part in parts:
        known = _reject_unknown(part, raw_items, rejects)
        first = known.sort("user_id", "timestamp", "line")
        if wanted.repeats == "first":
            first = first.unique(["user_id", "item"], keep="first", maintain_order=True)
        usable = first.filter("usable")
        # A user with fewer than k is in no k-core, whatever the other users do.
        enough = usable.filter(pl.len().over("user_id") >= wanted.k_core)
        repeated += known.height - first.height
        no_text += first.height - usable.height
        few += usable.height - enough.height
        total_users += usable["user_id"].n_unique()
        seen[usable["item"].to_numpy()] = True
        runs = enough["user_id"].rle_id().to_numpy()
        users.append(runs.astype(np.int32) + np.int32(num_users))
        items.append(enough["item"].to_numpy())
        timestamps.append(enough["timestamp"].to_numpy())
        # Copied, since a slice would hold on to the ids of the whole part.
        chosen = enough["user_id"].unique(maintain_order=True).to_list()
        user_ids.append(pl.Series("user_id", chosen, pl.String))
        num_users += len(user_ids[-1])
    found = Core(_joined(users), _joined(items), _joined(timestamps, np.int64), pl.concat(user_ids))
    kept = k_core(found.users, found.items, wanted.k_core)
    core = Core(found.users[kept], found.items[kept], found.timestamps[kept], found.user_ids)
    few += len(found.users) - len(kept)
    return core, Dropped(0, repeated, no_text, few, total_users, int(seen.sum()))


def _reject_unknown(part: pl.DataFrame, raw_items: RawItems, rejects: Rejects) -> pl.DataFrame:
    columns = raw_items.items.select("item_id", "item", "usable")
    joined = part.join(columns, on="item_id", how="left", maintain_order="left")
    rejects.add("unknown_item", joined.filter(pl.col("item").is_null())["line"].to_numpy())
    return joined.filter(pl.col("item").is_not_null()).drop("item_id")


def _joined(arrays: list[np.ndarray], dtype: type[np.generic] = np.int32) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *arrays])
