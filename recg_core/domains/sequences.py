"""User sequences in memory: ragged integer arrays and the holdout of a split."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from recg_core.base.schema import SEQUENCES

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray  # int32, item_idx 1..N
    offsets: np.ndarray  # int64 [rows + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The length of every row, int64 [rows]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """The row of every value, int64 [values]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: np.ndarray, last: int | None = None) -> "Ragged":
        """The given rows in the given order, each cut to its `last` most recent values."""
        ends = self.offsets[rows + 1]
        lengths = ends - self.offsets[rows]
        if last is not None:
            lengths = np.minimum(lengths, last)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(offsets[-1]) + np.repeat(ends - lengths - offsets[:-1], lengths)
        return Ragged(self.values[positions], offsets)

    def padded(self, rows: np.ndarray, last: int | None = None) -> np.ndarray:
        """The given rows as int64 [rows, longest], padded with 0 on the right."""
        chosen = self.take(rows, last)
        lengths = chosen.lengths
        padded = np.zeros((len(rows), int(lengths.max(initial=0))), dtype=np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = chosen.values
        return padded


def share_of(rows: Ragged, share: float) -> Ragged:
    """The rows of a share of the users, the others empty; a larger share has those of a smaller."""
    chosen = np.random.default_rng(0).random(len(rows)) < share
    lengths = np.where(chosen, rows.lengths, 0)
    kept = np.repeat(chosen, rows.lengths)
    return Ragged(rows.values[kept], np.concatenate([[0], np.cumsum(lengths)]))


def without_last(rows: Ragged) -> Ragged:
    """Every row without its last value; an empty row stays empty."""
    lengths = np.maximum(rows.lengths - 1, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(offsets[-1]) + np.repeat(rows.offsets[:-1] - offsets[:-1], lengths)
    return Ragged(rows.values[positions], offsets)


@dataclass(frozen=True)
class Sequences:
    """A domain's users: all items of each, oldest first, and where its split lies."""

    items: Ragged
    user_ids: list[str]
    train_length: np.ndarray  # int32 [U]
    valid_position: np.ndarray  # int32 [U], -1: none
    test_position: np.ndarray  # int32 [U], -1: none

    @property
    def leaves_one_out(self) -> bool:
        """Whether everyone's last item is the test and the one before it the validation.

        Then others' later items are known when one is asked for; in a split by time they are not.
        """
        length, three = self.items.lengths, self.items.lengths >= 3
        last_two = (self.valid_position == length - 2) & (self.test_position == length - 1)
        return bool(three.any() and last_two[three].all())

    def training(self) -> Ragged:
        """The items that training may use, one row a user (the row may be empty)."""
        return self._prefix(np.arange(len(self.items)), self.train_length)

    def observed(self, split: Split) -> Ragged:
        """What has happened before the items of `split`, of all users, one row a user.

        A user without an item in `split` counts as well: with all items in the test split, whose
        period begins after them, and with the training items in the validation split.
        """
        lengths = self.train_length
        if split == "test":
            lengths = np.where(self.test_position >= 0, self.test_position, self.items.lengths)
        return self._prefix(np.arange(len(self.items)), lengths)

    def holdout(self, split: Split) -> "Holdout":
        """The users that have an item in `split`, with everything before it as history."""
        position = self.valid_position if split == "valid" else self.test_position
        users = np.flatnonzero(position >= 1)  # an empty history says nothing about a user
        history = self._prefix(users, position[users])
        target = self.items.values[self.items.offsets[users] + position[users]]
        return Holdout(users.astype(np.int32), history, target)

    def _prefix(self, rows: np.ndarray, lengths: np.ndarray) -> Ragged:
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        starts = self.items.offsets[rows]
        positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Ragged(self.items.values[positions], offsets)


@dataclass(frozen=True)
class Holdout:
    """What an evaluation ranks: for each of M users a history and the item that came next."""

    users: np.ndarray  # int32 [M], user_idx, ascending
    history: Ragged  # M rows
    target: np.ndarray  # int32 [M], item_idx

    @cached_property
    def excluded(self) -> Ragged:
        """The distinct history items of every row other than its target: what is no candidate."""
        size = int(self.history.values.max(initial=0)) + 1
        row, item = np.divmod(np.unique(self.history.rows * size + self.history.values), size)
        other = item != self.target[row]
        lengths = np.bincount(row[other], minlength=len(self.history))
        return Ragged(item[other].astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]))

    def sample(self, size: int) -> "Holdout":
        """At most `size` users, always the same ones."""
        if len(self.users) <= size:
            return self
        rows = np.sort(np.random.default_rng(0).permutation(len(self.users))[:size])
        return Holdout(self.users[rows], self.history.take(rows), self.target[rows])


def load_sequences(path: Path) -> Sequences:
    """Read `sequences.parquet`.

    Raises:
        UserError: when it is missing or not of the schema.
    """
    frame = SEQUENCES.read(path).sort("user_idx")
    lists = frame["item_idx"]
    offsets = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
    values = lists.explode(empty_as_null=False).to_numpy().astype(np.int32)
    return Sequences(
        items=Ragged(values, offsets),
        user_ids=frame["user_id"].to_list(),
        train_length=frame["train_length"].to_numpy(),
        valid_position=frame["valid_position"].to_numpy(),
        test_position=frame["test_position"].to_numpy(),
    )
