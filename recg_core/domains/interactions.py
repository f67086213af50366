"""Interactions from raw records to numbers, in bounded memory: on disk, part by part of the users.

Twice they are divided: as they are read by a hash of the user, so that all of a user's can be seen
together, and in the end, when few remain, by ranges of user ids, so that users come in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.base.access import writing
from recg_core.base.errors import UserError
from recg_core.base.ray_tasks import run_on_ray, started_ray
from recg_core.domains.kcore import core_items, in_core
from recg_core.raw.items import RawItems
from recg_core.raw.records import read_interactions
from recg_core.raw.rejects import Rejects
from recg_core.raw.source import RawTable, TimestampUnit
from recg_core.raw.spill import Columns, DividedSpill, in_batches

# A part has the interactions of so many bytes of raw files, some hundred thousand to two million.
PART_BYTES = 1 << 25
MAX_PARTS = 256
DIVIDED_ROWS = 1 << 18  # divided at a time, so that what goes to a part at once is no handful
PROBE = pl.Series(["x" * length for length in range(64)])  # user ids
SAMPLED = 64  # of so many users one is looked at to find ranges of equal size
READ: Columns = {
    "line": pl.Int64,
    "user_id": pl.String,
    "item_id": pl.String,
    "timestamp": pl.Int64,
}
CORE: Columns = {
    "user_id": pl.String,
    "item": pl.Int32,  # the number of a raw item
    "timestamp": pl.Int64,
}
REMAINING: Columns = {**CORE, "user": pl.Int32}  # a number for the user within a part


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


@dataclass(frozen=True)
class Divided:
    """The usable interactions of a file, by a hash of the user, and what else it holds."""

    spill: DividedSpill  # READ
    rejects: Rejects
    num_low: int  # with a rating below `Wanted.min_rating`


@dataclass(frozen=True)
class Core:
    """The interactions that remain: on disk, by ranges of user ids."""

    items: np.ndarray  # bool [raw items], which of them remain
    num_interactions: int
    _spill: DividedSpill  # CORE

    def users(self) -> Iterator[pl.DataFrame]:
        """(user_id, item, timestamp) part by part, users in order of id.

        A user's are together, by time, ties in the order of the input.
        """
        for part in range(self._spill.num_parts):
            yield self._spill.part(part).sort("user_id", maintain_order=True)

    def timestamps(self) -> Iterator[np.ndarray]:
        """All times, int64 ms, part by part."""
        for part in range(self._spill.num_parts):
            yield self._spill.part(part, ("timestamp",))["timestamp"].to_numpy()


@dataclass(frozen=True)
class Dropped:
    """Usable interactions that are not in the core, by reason, and what the k-core began with."""

    low_rating: int
    repeated: int
    no_text: int
    k_core: int
    num_users_before_core: int
    num_items_before_core: int


def divide_by_user(
    raw: Path,
    table: RawTable,
    unit: TimestampUnit,
    folder: Path,
    min_rating: float | None,
    on_ray: bool,
) -> list[Divided]:
    """Read the files of a table and write what is usable to `folder`, divided by user.

    Lines without a rating are unusable with a `min_rating`.

    Args:
        on_ray: whether each file is a task of Ray; both folders are then at the same place on all
            machines.

    Raises:
        UserError: as `read_interactions` and `run_on_ray` do.
    """
    raw, folder = raw.resolve(), folder.resolve()
    num_bytes = sum((raw / name).stat().st_size for name in table.files)
    num_parts = min(max(num_bytes // PART_BYTES, 1), MAX_PARTS)
    tasks = {
        f"file {file + 1}, {name}": (raw, table, unit, folder, min_rating, file, num_parts)
        for file, name in enumerate(table.files)
    }
    if not on_ray:
        return [_divide_file(*task) for task in tasks.values()]
    own = _part_of(PROBE, 1 << 31).tolist()
    found = {}
    with started_ray("preprocessing with --ray") as ray:
        ended = run_on_ray(ray, _divide_elsewhere, tasks, num_cpus=1, num_gpus=0)
        for name, (divided, probed) in tqdm(ended, total=len(tasks), unit="file", disable=None):
            if probed != own:  # users would fall into other parts
                raise UserError(f"{name}: was read on a machine with another Polars or CPU")
            found[name] = divided
    return [found[name] for name in tasks]


def _divide_elsewhere(raw: Path, *task: Any) -> tuple[Divided, list[int]]:
    with writing(task[2]):
        return _divide_file(raw, *task), _part_of(PROBE, 1 << 31).tolist()


def _part_of(user_ids: pl.Series, num_parts: int) -> np.ndarray:
    return (user_ids.hash(seed=0) % num_parts).to_numpy()


def _divide_file(
    raw: Path,
    table: RawTable,
    unit: TimestampUnit,
    folder: Path,
    min_rating: float | None,
    file: int,
    num_parts: int,
) -> Divided:
    spill = DividedSpill(folder / f"read-{file}.arrow", READ, num_parts)
    spill.delete()  # what a worker of Ray that died has left
    rejects = Rejects(table.files)
    num_low = 0
    rating = pl.col("rating")

    def usable() -> Iterator[pl.DataFrame]:
        nonlocal num_low
        for frame in read_interactions(raw, table, unit, file):
            if min_rating is not None:
                unrated = pl.when(rating.is_null()).then(pl.lit("missing_rating"))
                frame = frame.with_columns(reason=pl.coalesce("reason", unrated))
            good = rejects.split(frame)
            if min_rating is not None:
                num_usable = good.height
                good = good.filter(rating >= min_rating)
                num_low += num_usable - good.height
            yield good

    for frame in in_batches(usable(), DIVIDED_ROWS):
        spill.append(frame, _part_of(frame["user_id"], num_parts))
    return Divided(spill, rejects, num_low)


def find_core(
    divided: Sequence[DividedSpill],
    raw_items: RawItems,
    wanted: Wanted,
    rejects: Rejects,
    folder: Path,
) -> tuple[Core, Dropped]:
    """Drop repeated pairs, items without text and what is outside the k-core, in this order.

    Args:
        divided: of each file, in order, in equal numbers of parts; they are deleted.
        rejects: takes the lines whose item has no metadata (`unknown_item`).
        folder: takes what is on disk meanwhile.

    Returns:
        The core, and what was dropped, ratings left out.
    """
    parts = range(divided[0].num_parts)
    remaining = DividedSpill(folder / "remaining.arrow", REMAINING, len(parts))
    sample = []
    repeated = no_text = few = num_users = 0
    seen = np.zeros(raw_items.items.height, dtype=bool)
    for number in parts:
        part = pl.concat(spill.part(number) for spill in divided)
        known = _reject_unknown(part, raw_items, rejects)
        first = known.sort("user_id", "timestamp", "line")
        if wanted.repeats == "first":
            first = first.unique(["user_id", "item"], keep="first", maintain_order=True)
        usable = first.filter("usable")
        usable = usable.with_columns(user=pl.col("user_id").rle_id().cast(pl.Int32))
        # A user with fewer than k is in no k-core, whatever the other users do.
        enough = usable.filter(pl.len().over("user") >= wanted.k_core)
        repeated += known.height - first.height
        no_text += first.height - usable.height
        few += usable.height
        num_users += usable["user"].n_unique()
        seen[usable["item"].to_numpy()] = True
        remaining.append(enough, np.full(enough.height, number))
        sample.append(enough["user_id"].unique(maintain_order=True).gather_every(SAMPLED))
    for spill in divided:
        spill.delete()
    core = _core(remaining, raw_items.items.height, wanted.k_core, pl.concat(sample), folder)
    few -= core.num_interactions
    return core, Dropped(0, repeated, no_text, few, num_users, int(seen.sum()))


def _core(remaining: DividedSpill, num_items: int, k: int, sample: pl.Series, folder: Path) -> Core:
    """The k-core of interactions of which all of a user's are in the same part."""

    def numbers() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in parts:
            part = remaining.part(number, ("user", "item"))
            yield part["user"].to_numpy(), part["item"].to_numpy()

    parts = range(remaining.num_parts)
    items = core_items(numbers, num_items, k)
    places = [len(sample) * number // len(parts) for number in parts[1:]]
    bounds = sample.sort().gather(places if len(sample) else [])
    ranges = DividedSpill(folder / "core.arrow", CORE, len(parts))
    num_interactions = 0
    for number in parts:
        part = remaining.part(number)
        part = part.filter(in_core(part["user"].to_numpy(), part["item"].to_numpy(), items, k))
        num_interactions += part.height
        ends = [*part["user_id"].search_sorted(bounds), part.height]
        ranges.append(part, np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0)))
    remaining.delete()
    return Core(items, num_interactions, ranges)


def _reject_unknown(part: pl.DataFrame, raw_items: RawItems, rejects: Rejects) -> pl.DataFrame:
    columns = raw_items.items.select("item_id", "item", "usable")
    joined = part.join(columns, on="item_id", how="left", maintain_order="left")
    rejects.add("unknown_item", joined.filter(pl.col("item").is_null())["line"].to_numpy())
    return joined.filter(pl.col("item").is_not_null()).drop("item_id")
