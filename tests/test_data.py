"""Ragged arrays and holdouts against plain Python lists."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.base.schema import SEQUENCES, Schema
from recg_core.domains.sequences import Ragged, Sequences, load_sequences
from tests.conftest import leave_one_out, ragged

ROWS = st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=8)


@st.composite
def rows_and_choice(draw: st.DrawFn) -> tuple[list[list[int]], list[int], int | None]:
    rows = draw(ROWS)
    chosen = draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    return rows, chosen, draw(st.none() | st.integers(1, 7))


@st.composite
def split_rows(draw: st.DrawFn) -> tuple[list[list[int]], list[tuple[int, int, int]]]:
    """Rows, and for each of them a train_length, valid_position and test_position."""
    rows = draw(ROWS)
    splits = []
    for row in rows:
        train = draw(st.integers(0, len(row)))
        held_out = st.just(-1) if train == len(row) else st.integers(train, len(row) - 1)
        splits.append((train, draw(st.just(-1) | held_out), draw(st.just(-1) | held_out)))
    return rows, splits


def sequences_of(rows: list[list[int]], splits: list[tuple[int, int, int]]) -> Sequences:
    columns = np.array(splits, dtype=np.int32).reshape(-1, 3).T
    return Sequences(ragged(rows), [f"u{i}" for i in range(len(rows))], *columns)


def as_lists(array: Ragged) -> list[list[int]]:
    bounds = zip(array.offsets, array.offsets[1:], strict=False)
    return [array.values[start:end].tolist() for start, end in bounds]


@given(rows_and_choice())
def test_take_is_indexing_and_the_last_values(
    case: tuple[list[list[int]], list[int], int | None],
) -> None:
    rows, chosen, last = case
    taken = ragged(rows).take(np.array(chosen, dtype=np.int64), last)
    expected = [rows[i] if last is None else rows[i][-last:] for i in chosen]
    assert as_lists(taken) == expected
    assert len(taken) == len(expected)
    assert taken.lengths.tolist() == [len(row) for row in expected]


@given(rows_and_choice())
def test_padded_puts_zeros_on_the_right(
    case: tuple[list[list[int]], list[int], int | None],
) -> None:
    rows, chosen, last = case
    expected = [rows[i] if last is None else rows[i][-last:] for i in chosen]
    width = max(map(len, expected), default=0)
    padded = ragged(rows).padded(np.array(chosen, dtype=np.int64), last)
    assert padded.tolist() == [row + [0] * (width - len(row)) for row in expected]
    assert padded.shape == (len(chosen), width)
    assert padded.dtype == np.int64


@given(split_rows())
def test_training_is_the_first_train_length_items(
    case: tuple[list[list[int]], list[tuple[int, int, int]]],
) -> None:
    rows, splits = case
    expected = [row[:train] for row, (train, _, _) in zip(rows, splits, strict=True)]
    assert as_lists(sequences_of(rows, splits).training()) == expected


@given(split_rows())
def test_a_holdout_is_the_item_at_its_position_and_all_items_before(
    case: tuple[list[list[int]], list[tuple[int, int, int]]],
) -> None:
    rows, splits = case
    sequences = sequences_of(rows, splits)
    for split, column in (("valid", 1), ("test", 2)):
        holdout = sequences.holdout(split)
        # A user whose history would be empty cannot be asked about.
        users = [i for i in range(len(rows)) if splits[i][column] >= 1]
        assert holdout.users.tolist() == users
        assert as_lists(holdout.history) == [rows[i][: splits[i][column]] for i in users]
        assert holdout.target.tolist() == [rows[i][splits[i][column]] for i in users]


@given(split_rows())
def test_observed_is_what_all_users_did_before_a_split(
    case: tuple[list[list[int]], list[tuple[int, int, int]]],
) -> None:
    """A user without a test item has done everything before the test period."""
    rows, splits = case
    sequences = sequences_of(rows, splits)
    before = [len(r) if test < 0 else test for r, (_, _, test) in zip(rows, splits, strict=True)]
    expected = [row[:end] for row, end in zip(rows, before, strict=True)]
    assert as_lists(sequences.observed("test")) == expected
    assert as_lists(sequences.observed("valid")) == as_lists(sequences.training())


def test_leave_one_out_observes_every_history_that_is_ranked() -> None:
    sequences = leave_one_out([[5, 3, 8, 1], [2, 2, 4]])
    for split in ("valid", "test"):
        assert as_lists(sequences.observed(split)) == as_lists(sequences.holdout(split).history)


def test_the_test_history_holds_the_validation_item() -> None:
    sequences = leave_one_out([[5, 3, 8, 1], [2, 2, 4]])
    assert as_lists(sequences.training()) == [[5, 3], [2]]
    valid, test = sequences.holdout("valid"), sequences.holdout("test")
    assert (as_lists(valid.history), valid.target.tolist()) == ([[5, 3], [2]], [8, 2])
    assert (as_lists(test.history), test.target.tolist()) == ([[5, 3, 8], [2, 2]], [1, 4])


def frame_of(order: list[int]) -> pl.DataFrame:
    users = pl.DataFrame(
        {
            "user_idx": [0, 1, 2],
            "user_id": ["a", "b", "c"],
            "item_idx": [[1, 2, 3], [], [4, 5]],
            "timestamp": [[1, 2, 3], [], [1, 1]],
            "train_length": [1, 0, 2],
            "valid_position": [1, -1, -1],
            "test_position": [2, -1, -1],
        },
        schema=SEQUENCES.columns,
    )
    return users[order]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_sequences_are_read_in_the_order_of_user_idx(order: list[int], tmp_path: Path) -> None:
    path = tmp_path / "sequences.parquet"
    SEQUENCES.write(frame_of(order), path)
    sequences = load_sequences(path)
    assert as_lists(sequences.items) == [[1, 2, 3], [], [4, 5]]
    assert sequences.items.values.dtype == np.int32
    assert sequences.user_ids == ["a", "b", "c"]
    assert sequences.train_length.tolist() == [1, 0, 2]
    assert sequences.valid_position.tolist() == [1, -1, -1]
    assert sequences.test_position.tolist() == [2, -1, -1]


def test_another_table_is_no_sequences(tmp_path: Path) -> None:
    path = tmp_path / "sequences.parquet"
    others = {name: SEQUENCES.columns[name] for name in SEQUENCES.columns if name != "timestamp"}
    Schema("others", others, "none").write(frame_of([0]).drop("timestamp"), path)
    with pytest.raises(UserError, match="is no sequences table; expected columns user_idx Int32"):
        load_sequences(path)
