"""The tables between stages are checked on every write and read."""

from pathlib import Path

import polars as pl
import pytest

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS, RANKS, SEQUENCES, Schema

ITEM_COLUMNS = "item_idx Int32, item_id String, title String, features String, description String"
ITEM_ROWS = pl.DataFrame(
    {
        "item_idx": [1, 2],
        "item_id": ["B01", "B02"],
        "title": ["a trowel", ""],
        "features": ["", "sharp"],
        "description": ["for the garden", "für den Garten"],
    },
    schema=ITEMS.columns,
)
SEQUENCE_ROWS = pl.DataFrame(
    {
        "user_idx": [0, 1],
        "user_id": ["u", "v"],
        "item_idx": [[1, 2, 1], []],
        "timestamp": [[10, 10, 12], []],
        "train_length": [1, 0],
        "valid_position": [1, -1],
        "test_position": [2, -1],
    },
    schema=SEQUENCES.columns,
)
RANK_ROWS = pl.DataFrame(
    {
        "user_idx": [3, 5],
        "num_candidates": [20, 19],
        "seed": [[0, 7], [0, 7]],
        "num_higher": [[4, 3], [0, 0]],
        "num_ties": [[1, 0], [0, 18]],
    },
    schema=RANKS.columns,
)


@pytest.mark.parametrize(
    ("table", "frame"), [(ITEMS, ITEM_ROWS), (SEQUENCES, SEQUENCE_ROWS), (RANKS, RANK_ROWS)]
)
def test_what_is_written_comes_back(table: Schema, frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table.write(frame, path)
    assert table.read(path).equals(frame, null_equal=True)
    assert table.read(path).schema == frame.schema


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        pytest.param(
            ITEM_ROWS.drop("title"),
            "item_idx Int32, item_id String, features String, description String",
            id="a missing column",
        ),
        pytest.param(
            ITEM_ROWS.select("item_id", "item_idx", "title", "features", "description"),
            "item_id String, item_idx Int32, title String, features String, description String",
            id="another order",
        ),
        pytest.param(
            ITEM_ROWS.with_columns(pl.col("item_idx").cast(pl.Int64)),
            ITEM_COLUMNS.replace("item_idx Int32", "item_idx Int64"),
            id="another type",
        ),
    ],
)
def test_a_wrong_table_is_neither_written_nor_read(
    frame: pl.DataFrame, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "items.parquet"
    message = f"{path}: is no items table; expected columns {ITEM_COLUMNS}, found {found}"
    with pytest.raises(UserError) as caught:
        ITEMS.write(frame, path)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []

    Schema("others", dict(frame.schema), "none").write(frame, path)
    with pytest.raises(UserError) as caught:
        ITEMS.read(path)
    assert str(caught.value) == message


def test_further_columns_have_their_type(tmp_path: Path) -> None:
    more = ITEM_ROWS.with_columns(brand=pl.lit("x"))
    ITEMS.write(more, tmp_path / "items.parquet")
    assert ITEMS.read(tmp_path / "items.parquet").equals(more)
    with pytest.raises(
        UserError, match=r"expected columns .*, price String, found .*, price Float64"
    ):
        ITEMS.write(ITEM_ROWS.with_columns(price=pl.lit(1.5)), tmp_path / "items.parquet")


def test_a_refused_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    ITEMS.write(ITEM_ROWS, path)
    with pytest.raises(UserError):
        ITEMS.write(ITEM_ROWS.drop("title"), path)
    assert ITEMS.read(path).equals(ITEM_ROWS)


def test_a_missing_or_damaged_file_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    with pytest.raises(UserError) as caught:
        ITEMS.read(path)
    assert str(caught.value) == f"{path}: no such file; run the preprocess stage"

    ITEMS.write(ITEM_ROWS, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError) as caught:
        ITEMS.read(path)
    assert str(caught.value).startswith(f"{path}: is damaged, ")
    assert "run the preprocess stage (`dvc repro`)" in str(caught.value)


@pytest.mark.parametrize(("table", "frame"), [(ITEMS, ITEM_ROWS), (RANKS, RANK_ROWS)])
def test_no_flipped_bit_goes_unnoticed(table: Schema, frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table.write(frame, path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        with pytest.raises(UserError, match="is damaged"):
            table.read(path)


@pytest.mark.parametrize(("table", "frame"), [(ITEMS, ITEM_ROWS), (RANKS, RANK_ROWS)])
def test_equal_frames_give_equal_bytes(table: Schema, frame: pl.DataFrame, tmp_path: Path) -> None:
    for name in ("one", "two"):
        table.write(frame.clone(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
