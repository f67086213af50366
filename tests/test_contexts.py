"""Rows by how many histories of a target they may read: the ranks, and what the report makes of
them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.base.schema import RANKS
from recg_core.cli.revisions import Revision
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import share_of
from recg_core.evaluation.cells import evaluate_variant
from recg_core.evaluation.contexts import ROWS, SHARES
from recg_core.evaluation.training_free import write_training_free
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.models.trained import load_trained
from recg_core.models.variant import InContextConfig
from recg_core.report.cells import Model
from recg_core.report.contexts import ContextResult, contexts_drawing, contexts_table
from tests import test_report
from tests.conftest import alone, cycle_domain, ragged
from tests.test_baselines import CONFIG
from tests.test_cells import PATTERNS, SEM, clustered, retrain
from tests.test_report import (
    COUNTS,
    GRID,
    ITEMS,
    USERS,
    WITH_COUNTS,
    analysed,
    write_ranks,
)

root = test_report.root  # the fixture
READING = dataclasses.replace(SEM, score="cosine", in_context=InContextConfig(20))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_has_the_histories_of_a_smaller(
    lengths: list[int], one: float, other: float
) -> None:
    rows = ragged([list(range(1, length + 1)) for length in lengths])
    smaller, larger = (share_of(rows, share).lengths for share in sorted((one, other)))
    assert set(larger - smaller) | set(rows.lengths - larger) <= {0, *lengths}
    assert ((smaller == 0) | (smaller == rows.lengths)).all()
    assert (smaller <= larger).all()


def test_no_history_is_read_of_no_share_and_every_one_of_all() -> None:
    rows = ragged([[1, 2], [], [3]])
    assert share_of(rows, 0.0).lengths.tolist() == [0, 0, 0]
    assert share_of(rows, 1.0).values.tolist() == [1, 2, 3]


@pytest.fixture(scope="module")
def target() -> Domain:
    return cycle_domain("target", num_users=120, num_items=40, seed=3)


@pytest.fixture(scope="module")
def ranked(target: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the source `source`, evaluated there and on `target`."""
    folder, source = tmp_path_factory.mktemp("contexts"), cycle_domain("source", num_users=60)
    made = folder / "made"
    made.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
        retrain(made, source, READING)
    clustered(made, source, PATTERNS)
    for name in ("model", "patterns"):
        place = folder / name / "source" / "gru4rec"
        place.parent.mkdir(parents=True)
        (made / name).rename(place)
    places = folder / "model", folder / "patterns"
    out = folder / "ranks"
    evaluate_variant(*places, [alone(source)], [source, target], out, CONFIG, variant="in_context")
    write_training_free([target], CONFIG, out / "training_free")
    return folder


def test_there_is_a_table_for_each_row_and_number_of_histories(
    ranked: Path, target: Domain
) -> None:
    contexts = ranked / "ranks" / "contexts"
    observed = target.sequences.observed("test")
    sizes = {str(np.count_nonzero(share_of(observed, share).lengths)) for share in SHARES}
    assert "120" in sizes
    found = {path.relative_to(contexts).as_posix() for path in contexts.rglob("*.parquet")}
    names = {*ROWS, "from_source"}  # of the source itself there is nothing
    assert found == {f"target/{size}/{name}.parquet" for size in sizes for name in names}


def test_with_all_histories_the_ranks_are_those_of_the_cells(ranked: Path) -> None:
    whole = ranked / "ranks" / "contexts" / "target" / "120"
    cells = {"from_source": ranked / "ranks" / "gru4rec" / "source_to_target.parquet"}
    cells |= {row: ranked / "ranks" / "training_free" / f"{row}_to_target.parquet" for row in ROWS}
    for name, cell in cells.items():
        assert (whole / f"{name}.parquet").read_bytes() == cell.read_bytes()


def test_with_a_share_only_its_histories_are_read(ranked: Path, target: Domain) -> None:
    models, patterns = (ranked / name / "source" / "gru4rec" for name in ("model", "patterns"))
    model = load_trained(models, patterns, seed=0)
    part = share_of(target.sequences.observed("test"), 0.3)
    holdout = target.sequences.holdout("test")
    score = model.scorer(target, holdout.history, part)
    size = np.count_nonzero(part.lengths)
    stored = ranked / "ranks" / "contexts" / "target" / str(size) / "from_source.parquet"
    expected = rank_holdout(score, holdout, target.num_items)
    assert np.array_equal(read_ranks(stored).num_higher[:, 0], expected.num_higher)


def test_what_is_no_cell_is_not_compared_as_one() -> None:
    paths = ["in_context/sasrec/A_to_B.parquet", "in_context/contexts/B/9/from_A.parquet"]
    found = [f"/project/results/ranks/{path}" for path in paths]
    files = SimpleNamespace(isdir=lambda _: True, find=lambda _: found)
    revision = Revision("workspace", cast(Any, SimpleNamespace(dvcfs=files)))
    assert revision.cells() == ["in_context/sasrec/A_to_B"]


# --- the report


def write_context(folder: Path, size: int, name: str, higher: np.ndarray) -> None:
    """Ranks on `IS` of every other of its users, one seed."""
    users = np.arange(0, USERS, 2, dtype=np.int32)
    higher_U1 = higher.astype(np.int32)[:, None]
    seeds, candidates = np.zeros(1, dtype=np.int32), np.full(len(users), ITEMS - 7, dtype=np.int32)
    ranks = SeedRanks(users, seeds, candidates, higher_U1, np.zeros_like(higher_U1))
    place = folder / "ranks" / str(COUNTS) / "contexts" / "IS" / str(size)
    RANKS.write(ranks.to_frame(), place / f"{name}.parquet")


@pytest.fixture
def measured(root: Path) -> ContextResult:
    """`counts` finds nothing with 5 histories and puts all items second with 40 and first with
    100; `ease` is lucky with 5."""
    for source in GRID.sources:
        for domain in GRID.domains:
            for variant in ("counts", "wo_ic"):
                model = Model("sasrec", variant)
                write_ranks(root, model, source, domain, 9.0, target_interactions_used=True)
    half = USERS // 2
    for size, rank in {5: 200, 40: 1, 100: 0}.items():
        write_context(root, size, "from_VG", np.full(half, rank))
        write_context(root, size, "ease", np.full(half, 0 if size == 5 else 200))
    (result,) = analysed(root, WITH_COUNTS).contexts
    return result


def test_curves_are_means_over_the_users_that_were_ranked(measured: ContextResult) -> None:
    assert (measured.target, measured.num_users, measured.histories) == ("IS", 200, (5, 40, 100))
    values = {name: [mean.value for mean in means] for name, means in measured.rows.items()}
    assert values == {"counts†": [0, pytest.approx(1 / np.log2(3)), 1], "ease†": [1, 0, 0]}
    for means in measured.rows.values():
        assert all(mean.low == pytest.approx(mean.value) == mean.high for mean in means)


def test_a_row_is_above_a_level_from_where_on_it_stays_above(measured: ContextResult) -> None:
    texts, training = measured.levels
    assert (texts.beaten, texts.name) == ("texts alone", "knn")
    assert (training.beaten, training.name) == ("training on IS", "sasrec-wo_ic")
    assert 0 < texts.value < training.value < 1
    assert texts.since == {"counts†": 40, "ease†": None}
    assert training.since == {"counts†": 100, "ease†": None}


def test_levels_are_of_the_same_users(root: Path, measured: ContextResult) -> None:
    ranks = read_ranks(root / "ranks" / "training_free" / "knn_to_IS.parquet").num_higher[::2, 0]
    expected = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean()
    assert measured.levels[0].value == pytest.approx(expected)


def test_the_table_and_the_picture_say_from_how_many_on(measured: ContextResult) -> None:
    table = contexts_table(measured, "ndcg@10")
    assert table.columns[:4] == ("Row", "5", "40", "100")
    texts = [[getattr(entry, "plain", entry) for entry in row] for row in table.rows]
    assert [row[-2:] for row in texts] == [["40", "100"], ["-", "-"], ["-", "-"], ["-", "-"]]
    drawing = contexts_drawing(measured, "ndcg@10")
    assert drawing.svg.count("<polyline") == 4
    assert drawing.svg.count("stroke-dasharray") == 2 * 2  # each level, in the plot and the legend
    assert (
        "`counts†` is above texts alone from 40 of 100 histories on, and above training on IS "
        "from 100 of 100 histories on." in drawing.caption
    )


def test_a_missing_table_is_named(root: Path, measured: ContextResult) -> None:
    gone = root / "ranks" / str(COUNTS) / "contexts" / "IS" / "40" / "from_VG.parquet"
    gone.unlink()
    with pytest.raises(UserError, match=r"40/from_VG\.parquet"):
        analysed(root, WITH_COUNTS)
