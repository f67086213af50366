"""Rows by length of the history and by events of the item, on a few users counted by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recg_core.base.schema import SLICES
from recg_core.evaluation.certificate import NO_SOURCE, Certificate, Saw
from recg_core.report.bands import (
    BANDS,
    BandResult,
    bands,
    bands_drawing,
    bands_table,
    measure_bands,
)
from recg_core.report.cells import Cell, Cells, Grid, Model
from recg_core.report.config import ReportConfig
from recg_core.report.per_user import UserValues

STARTS = (0, 1, 5, 20)


def test_a_band_reaches_to_the_next() -> None:
    values = np.array([0, 1, 4, 5, 19, 20, 900])
    found = {label: values[mask].tolist() for label, mask in bands(values, STARTS)}
    assert found == {"0": [0], "1 to 4": [1, 4], "5 to 19": [5, 19], "20 or more": [20, 900]}


@given(st.lists(st.integers(0, 200), min_size=1))
def test_every_user_is_in_one_band(values: list[int]) -> None:
    masks = [mask for _, mask in bands(np.array(values), STARTS)]
    assert (np.sum(masks, axis=0) == 1).all()


def cell(
    variant: str, source: str, *, backbone: str | None = "gru4rec", used: bool = False
) -> Cell:
    saw = Saw(not used, False, used, 0.0, 0.0)
    ranks = backbone is not None and variant != "anchored"
    certificate = Certificate(
        backbone, variant, source, "T", True, 1, 4, 200.0, saw, backbone_ranks=ranks
    )
    return Cell(Model(backbone, variant), source, "T", certificate, Path())


def measured_bands(values: dict[Cell, list[float]], tmp_path: Path) -> list[BandResult]:
    """Four users with histories of 2, 4, 7 and 7 items, and items with 0, 0, 3 and 300 events."""
    config = ReportConfig(ks=(10,))
    column = config.columns.index(("full", "ndcg@10"))
    users = np.arange(4, dtype=np.int32)
    frame = pl.DataFrame(
        {
            "user_idx": users, "history_length": [2, 4, 7, 7], "popularity": [0, 0, 3, 300],
            "head": [False] * 4, "source_similarity": [0.0] * 4,
        },
        schema=SLICES.columns,
    )  # fmt: skip
    SLICES.write(frame, tmp_path / "A_to_T.parquet")
    wide = {c: np.full((4, len(config.columns)), np.nan) for c in values}
    for c, of_users in values.items():
        wide[c][:, column] = of_users
    cells = Cells(
        Grid(("T",), ("A", "B"), ("gru4rec", "sasrec"), ("sem", "anchored")),
        {(c.model, c.source, "T"): c for c in values},
    )
    places = {c: np.arange(4)[:, None] + 4 * n for n, c in enumerate(wide)}
    made = UserValues(np.concatenate(list(wide.values())), places)
    measured = cast(Any, SimpleNamespace(users=users, values=made))
    return list(measure_bands(cells, "T", measured, tmp_path, config))


def test_rows_are_means_over_users_of_a_band_and_sources(tmp_path: Path) -> None:
    """`sem` has a backbone at work, SASRec's `anchored` is GRU4Rec's again, T's own transfers
    nothing."""
    lengths, events = measured_bands(
        {
            cell("anchored", "A"): [0.2, 0.4, 0.0, 0.8],
            cell("anchored", "B"): [0.4, 0.6, 0.2, 1.0],
            cell("anchored", "A", backbone="sasrec"): [9.0] * 4,
            cell("anchored", "T"): [9.0] * 4,
            cell("sem", "A"): [9.0] * 4,
            cell("knn", NO_SOURCE, backbone=None): [1.0, 0.0, 0.5, 0.25],
            cell("ease", NO_SOURCE, backbone=None, used=True): [0.0, 0.0, 0.0, 1.0],
        },
        tmp_path,
    )
    assert (lengths.labels, lengths.num_users) == (("1 to 4", "5 to 9"), (2, 2))
    assert {name: pytest.approx(of) for name, of in lengths.values.items()} == {
        "anchored": (0.4, 0.5), "knn": (0.5, 0.375), "ease†": (0.0, 0.5),
    }  # fmt: skip
    assert (events.labels, events.num_users) == (("0", "1 to 4", "100 or more"), (2, 1, 1))
    assert events.values["ease†"] == (0.0, 0.0, 1.0)
    assert events.trained == ("anchored",)


def result(num_users: tuple[int, ...]) -> BandResult:
    values = {
        "anchored": (0.1, 0.2, 0.3), "a": (0.2, 0.0, 0.4), "b": (0.0, 0.1, 0.0),
        "never": (0.0, 0.0, 0.1), "reads†": (0.3, 0.4, 0.1), "less†": (0.2, 0.3, 0.0),
    }  # fmt: skip
    return BandResult("T", BANDS[1], ("0", "1 to 4", "5 to 19"), num_users, ("anchored",), values)


def test_the_picture_has_trained_rows_and_the_leaders_of_a_band() -> None:
    shown = result((50, 60, 70))
    drawing = bands_drawing(shown, "ndcg@10")
    assert drawing is not None
    found = [name for name in shown.values if f">{name}</text>" in drawing.svg]
    assert found == ["anchored", "a", "b", "reads†"]
    assert drawing.svg.count("<polyline") == 4
    # The highest value, 40 %, is at the top of the scale.
    assert ">40.0</text>" in drawing.svg


def test_bands_of_few_users_are_not_drawn() -> None:
    few = result((50, 29, 70))
    table = bands_table(few, "ndcg@10")
    assert table.columns == ("Row", "0 (50)", "1 to 4 (29)", "5 to 19 (70)")
    drawing = bands_drawing(few, "ndcg@10")
    assert drawing is not None
    assert "1 to 4" not in drawing.svg
    assert ">b</text>" not in drawing.svg
    assert bands_drawing(result((50, 29, 0)), "ndcg@10") is None
