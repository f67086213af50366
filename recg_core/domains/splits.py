"""Where each user's sequence is cut into training, validation and test."""

import datetime
from dataclasses import dataclass

import numpy as np

# Of all interactions of a domain in order of time, the shares before the validation period and
# before the test period.
VALID_START = 0.8
TEST_START = 0.9


@dataclass(frozen=True)
class Cuts:
    """Two moments that cut all domains alike, so that sources end before targets are tested.

    Attributes:
        train_end: when training ends and validation begins, ISO 8601; UTC, where it names no zone.
        test_start: when validation ends and the test begins, later than `train_end`.
    """

    train_end: str | datetime.date
    test_start: str | datetime.date

    def __post_init__(self) -> None:
        train_end, test_start = self.milliseconds
        if train_end >= test_start:
            raise ValueError(f"train_end {self.train_end} is not before {self.test_start}")

    @property
    def milliseconds(self) -> tuple[int, int]:
        """Both, counted from 1970."""
        return _milliseconds(self.train_end), _milliseconds(self.test_start)


def _milliseconds(moment: str | datetime.date) -> int:
    found = datetime.datetime.fromisoformat(str(moment))  # raises ValueError itself
    zoned = found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)
    return round(1000 * zoned.timestamp())


@dataclass(frozen=True)
class SplitPositions:
    """The split of U sequences, each array int32 [U]."""

    length: np.ndarray  # items that are kept, from the first
    train_length: np.ndarray
    valid_position: np.ndarray  # -1: none
    test_position: np.ndarray  # -1: none


def leave_one_out(lengths: np.ndarray) -> SplitPositions:
    """The last item is the test, the last but one the validation, the rest the training.

    Users with fewer than three items are for training only.

    Args:
        lengths: [U], items of each user.
    """
    enough = lengths >= 3
    return _positions(
        length=lengths,
        train_length=np.where(enough, lengths - 2, lengths),
        valid_position=np.where(enough, lengths - 2, -1),
        test_position=np.where(enough, lengths - 1, -1),
    )


def own_cuts(timestamps: np.ndarray) -> tuple[int, int]:
    """The times at the shares `VALID_START` and `TEST_START` of a domain's interactions in order.

    t[floor(share * n)], 0-based.

    Args:
        timestamps: [n], ascending.
    """
    valid_start, test_start = (int(share * len(timestamps)) for share in (VALID_START, TEST_START))
    return int(timestamps[valid_start]), int(timestamps[test_start])


def temporal(
    timestamps: np.ndarray, lengths: np.ndarray, train_end: int, test_start: int
) -> SplitPositions:
    """Training before one time, validation before another, test from then on.

    A user's validation item is the first in the validation period and the test item the first in
    the test period, if there is any; what follows the test item is dropped. A user may have no
    training item.

    Args:
        timestamps: [n], all users one after the other, each non-decreasing.
        lengths: [U], items of each user, 1 or more, adding up to n.
    """
    starts = np.cumsum(lengths) - lengths
    train = np.add.reduceat(timestamps < train_end, starts, dtype=np.int64)
    before_test = np.add.reduceat(timestamps < test_start, starts, dtype=np.int64)
    has_test = before_test < lengths
    return _positions(
        length=np.where(has_test, before_test + 1, lengths),
        train_length=train,
        valid_position=np.where(before_test > train, train, -1),
        test_position=np.where(has_test, before_test, -1),
    )


def _positions(
    length: np.ndarray,
    train_length: np.ndarray,
    valid_position: np.ndarray,
    test_position: np.ndarray,
) -> SplitPositions:
    return SplitPositions(
        length.astype(np.int32),
        train_length.astype(np.int32),
        valid_position.astype(np.int32),
        test_position.astype(np.int32),
    )
