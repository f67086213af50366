"""Per-user metrics from stored ranks, and `recg compare` on top of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.base.schema import RANKS
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.compare import CompareConfig, changes_table, compare_cells
from recg_core.report.config import Protocols
from recg_core.report.per_user import user_values


def simulated(num_users: int, num_seeds: int, seed: int, better: float = 1.0) -> SeedRanks:
    """Log-uniform ranks of about 500 candidates, divided by `better`, with a few ties."""
    random = np.random.default_rng(seed)
    catalogue = np.random.default_rng(0).integers(480, 500, num_users).astype(np.int32)
    shape = (num_users, num_seeds)
    higher = (np.exp(random.uniform(0, np.log(400), shape)) / better).astype(np.int32)
    ties = (random.random(shape) < 0.1).astype(np.int32)
    users = np.arange(num_users, dtype=np.int32)
    return SeedRanks(users, np.arange(num_seeds, dtype=np.int32), catalogue, higher, ties)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 1000))
def test_metrics_are_those_of_each_seed_alone(num_users: int, num_seeds: int, seed: int) -> None:
    rows = [simulated(num_users, num_seeds, seed), simulated(num_users, 1, seed + 1)]
    protocols = Protocols((1, 7), num_negatives=50)
    values = user_values(range(len(rows)), rows.__getitem__, protocols)
    for number, row in enumerate(rows):
        found = np.stack(list(values.by_seed(number)), axis=1)
        per_seed = []
        for higher, ties in zip(row.num_higher.T, row.num_ties.T, strict=True):
            full = ranking_metrics(higher, ties, row.num_candidates, (1, 7))
            sampled = ranking_metrics(higher, ties, row.num_candidates, (1, 7), 50)
            per_seed.append(np.stack([*full.values(), *sampled.values()], axis=1))
        assert found.mean(axis=1) == pytest.approx(np.mean(per_seed, axis=0))
        assert values.of(number) == pytest.approx(found.mean(axis=1))
        assert found.mean(axis=0) == pytest.approx(np.mean(per_seed, axis=1))
        assert values.column(number, 3) == pytest.approx(found[:, :, 3].mean(axis=1))


def stored(frame: pl.DataFrame, folder: Path) -> bytes:
    """The bytes of a ranks file."""
    RANKS.write(frame, folder / "ranks.parquet")
    return (folder / "ranks.parquet").read_bytes()


def test_a_ranks_table_comes_back_in_the_order_of_users(tmp_path: Path) -> None:
    row = simulated(20, 3, seed=1)
    again = read_ranks(
        stored(row.to_frame().sample(fraction=1, shuffle=True, seed=0), tmp_path), "ranks"
    )
    for name in ("users", "seeds", "num_candidates", "num_higher", "num_ties"):
        assert np.array_equal(getattr(again, name), getattr(row, name))


def test_uneven_seeds_are_refused(tmp_path: Path) -> None:
    row = simulated(2, 2, seed=1)
    frame = row.to_frame().vstack(simulated(2, 1, seed=1).to_frame())
    with pytest.raises(UserError, match="not every user has a rank for every seed"):
        read_ranks(stored(frame, tmp_path), "ranks")


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    content = stored(simulated(2, 2, seed=1).to_frame(), tmp_path)
    with pytest.raises(UserError, match=r"ranks of 'main': is damaged, "):
        read_ranks(content[:9] + b"?" + content[10:], "ranks of 'main'")


def test_compare_finds_what_changed_and_only_that() -> None:
    before = {name: simulated(3_000, 2, seed) for seed, name in enumerate("abc")}
    after = before | {"b": simulated(3_000, 2, 1, better=1.5), "c": simulated(3_000, 2, 9)}
    config = CompareConfig("recall@10", "sampled_100", num_resamples=300)
    same, better, noise = compare_cells("abc", before.__getitem__, after.__getitem__, config)
    assert (same.verdict, better.verdict, noise.verdict) == ("same", "better", "unclear")
    assert better.low < better.after - better.before < better.high
    assert better.low > 0 > noise.low
    table = changes_table([same, better, noise])
    assert "| b |" in table
    assert "| a |" not in table
    assert "1 cell(s) are the same" in table


def test_compare_refuses_other_users_and_other_catalogues(tmp_path: Path) -> None:
    config = CompareConfig()
    rows = simulated(30, 1, 0)
    fewer = read_ranks(stored(rows.to_frame().head(20), tmp_path), "ranks")
    with pytest.raises(UserError, match=r"a in revision A and a in revision B .*different users"):
        compare_cells(["a"], lambda name: rows, lambda name: fewer, config)
    larger = SeedRanks(
        rows.users, rows.seeds, rows.num_candidates + 1, rows.num_higher, rows.num_ties
    )
    with pytest.raises(UserError, match="different catalogues"):
        compare_cells(["a"], lambda name: rows, lambda name: larger, config)


@pytest.mark.parametrize(
    "wrong", [{"metric": "mrr@10"}, {"metric": "ndcg"}, {"protocol": "sampled"}]
)
def test_an_unknown_metric_or_protocol_names_the_valid_ones(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="expected"):
        compare_cells([], lambda name: None, lambda name: None, CompareConfig(**wrong))  # type: ignore[arg-type, return-value]
