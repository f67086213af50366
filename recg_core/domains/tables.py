"""From the interactions that remain to the tables of a domain, piece by piece."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.schema import SEQUENCES
from recg_core.domains.interactions import Core
from recg_core.domains.splits import SplitPositions, leave_one_out, temporal
from recg_core.raw.items import RawItems
from recg_core.raw.spill import in_batches

ROWS = 1 << 18  # users that are written at a time


@dataclass
class Totals:
    """What is counted of the sequences as they are made.

    Attributes:
        num_valid_users: users with a validation item.
        num_test_users: users with a test item and a history.
        num_ties: interactions at the same time as the user's one before.
        asked: the times of the test items of `num_test_users`, frame by frame.
        known: a file, takes the times of what is known when test items are asked for.
    """

    known: Path
    num_users: int = 0
    num_interactions: int = 0
    num_valid_users: int = 0
    num_test_users: int = 0
    num_ties: int = 0
    asked: list[np.ndarray] = field(default_factory=list)

    def later_share(self) -> float | None:
        """Of the events that are known, the share that came after a test item; None without any.

        The mean over test users.
        """
        if not self.num_test_users:
            return None
        ordered = sorted_file(self.known)
        not_later = sum(int(np.searchsorted(ordered, t, side="right").sum()) for t in self.asked)
        later = len(ordered) * self.num_test_users - not_later
        return later / self.num_test_users / len(ordered)


def item_numbers(raw_items: RawItems, used: np.ndarray) -> np.ndarray:
    """`item_idx` by the number of a raw item: from 1 in the order of item_id, 0 for others.

    Args:
        used: bool [raw items].

    Returns:
        int32 [raw items].
    """
    numbers = np.zeros(len(used), dtype=np.int32)
    positions = np.flatnonzero(used)
    order = raw_items.items["item_id"].gather(positions).arg_sort().to_numpy()
    numbers[positions[order]] = np.arange(1, len(positions) + 1)
    return numbers


def item_frames(raw_items: RawItems, used: np.ndarray) -> Iterator[pl.DataFrame]:
    """ITEMS of `recg_core.base.schema`, of the items that are used (bool [raw items])."""
    first = 1
    for texts in raw_items.texts(np.flatnonzero(used)):
        yield texts.with_row_index("item_idx", first).with_columns(
            pl.col("item_idx").cast(pl.Int32)
        )
        first += texts.height


def sequence_frames(
    core: Core, item_idx: np.ndarray, cuts: tuple[int, int] | None, totals: Totals
) -> Iterator[pl.DataFrame]:
    """SEQUENCES of `recg_core.base.schema`, in frames of `ROWS` rows.

    Args:
        item_idx: by the number of a raw item.
        cuts: when training ends and the test begins; None: leave one out.
        totals: are added up.
    """
    frames = (_sequences(frame, item_idx, cuts, totals) for frame in core.users() if frame.height)
    for frame in in_batches(frames, ROWS):
        # Copied, since the pages of Parquet depend on what a slice leaves out of its lists.
        yield frame[np.arange(frame.height)]


def _sequences(
    core: pl.DataFrame, item_idx: np.ndarray, cuts: tuple[int, int] | None, totals: Totals
) -> pl.DataFrame:
    users = core["user_id"].rle().struct.unnest()
    lengths, timestamps = users["len"].to_numpy(), core["timestamp"].to_numpy()
    lengths = lengths.astype(np.int64)
    split = leave_one_out(lengths) if cuts is None else temporal(timestamps, lengths, *cuts)
    kept = _first(split.length, lengths)
    timestamps = timestamps[kept]
    first = totals.num_users
    _count(split, timestamps, totals)
    return pl.DataFrame(
        {
            "user_idx": np.arange(first, totals.num_users, dtype=np.int32),
            "user_id": users["value"],
            "item_idx": _lists(item_idx[core["item"].to_numpy()[kept]], split.length),
            "timestamp": _lists(timestamps, split.length),
            "train_length": split.train_length,
            "valid_position": split.valid_position,
            "test_position": split.test_position,
        },
        schema=SEQUENCES.columns,
    )


def _count(split: SplitPositions, timestamps: np.ndarray, totals: Totals) -> None:
    lengths, test = split.length, split.test_position
    starts = np.cumsum(lengths) - lengths
    tied = np.diff(timestamps, prepend=timestamps[:1] - 1) == 0
    tied[starts] = False
    totals.num_users += len(lengths)
    totals.num_interactions += len(timestamps)
    totals.num_valid_users += int((split.valid_position >= 0).sum())
    totals.num_test_users += int((test >= 1).sum())
    totals.num_ties += int(tied.sum())
    totals.asked.append(timestamps[(starts + test)[test >= 1]])
    known = timestamps[_first(np.where(test >= 0, test, lengths), lengths)]
    with totals.known.open("ab") as stream:
        stream.write(known.tobytes())


def _first(counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Of rows one after the other, of the given lengths, a mask of the first `counts` of each."""
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return position < np.repeat(counts, lengths)


def _lists(values: np.ndarray, lengths: np.ndarray) -> pl.Series:
    """`values` cut into lists of the given lengths, each 1 or more."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame({"row": rows, "value": values})
    return frame.group_by("row", maintain_order=True).agg("value")["value"]


def sorted_file(path: Path, values: Iterable[np.ndarray] = ()) -> np.ndarray:
    """Numbers on disk, sorted there and mapped: they may be more than memory holds.

    Args:
        values: int64, written to `path` first, after what it holds.
    """
    with path.open("ab") as stream:
        for some in values:
            stream.write(some.tobytes())
        if not stream.tell():
            return np.empty(0, dtype=np.int64)
    mapped = np.memmap(path, np.int64, "r+")
    mapped.sort()
    return mapped
