"""Zero-shot is true: a source model cannot depend on a target's interactions, and it transfers."""

import shutil
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recg_core.base.files import read_json
from recg_core.base.schema import RANKS, SEQUENCES
from recg_core.evaluation.training_free import READ_HISTORIES
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import read_ranks
from stages import WORK
from tests.project import (
    DOMAINS,
    bytes_below,
    run_stages,
    small_params,
    with_value,
)

Change = Callable[[pl.DataFrame], pl.DataFrame]


def permute_users(sequences: pl.DataFrame) -> pl.DataFrame:
    """Every user gets the history of another one."""
    return sequences.with_columns(sequences.select("item_idx", "timestamp").reverse())


def delete_all(sequences: pl.DataFrame) -> pl.DataFrame:
    return sequences.clear()


def repeat_one_item(sequences: pl.DataFrame) -> pl.DataFrame:
    """Every interaction of every user is with the first item."""
    return sequences.with_columns(pl.col("item_idx").list.eval(pl.element() * 0 + 1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a source model whose pool holds the texts of all three domains.

    Nothing is kept of its training that a later one could take its model from.
    """
    folder = tmp_path_factory.mktemp("trained") / "project"
    folder.mkdir()
    names = (
        "fetch", "preprocess", "encode", "pool", "sources", "backbones", "train", "cluster",
        "evaluate",
    )  # fmt: skip
    run_stages(folder, small_params(), *names)
    shutil.rmtree(folder / WORK)
    return folder


@pytest.mark.parametrize("change", [permute_users, delete_all, repeat_one_item])
def test_target_interactions_cannot_change_a_source_model(
    change: Change, trained: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    for target in DOMAINS[1:]:
        path = project / "data" / "domains" / target / "sequences.parquet"
        changed = change(SEQUENCES.read(path))
        assert not changed.equals(SEQUENCES.read(path))
        SEQUENCES.write(changed, path)
    for folder in ("models", "patterns", "data/pool"):
        shutil.rmtree(project / folder)
    run_stages(project, small_params(), "pool", "sources", "train", "cluster")
    for folder in ("models", "patterns", "data/pool"):
        again = bytes_below(project / folder)
        assert again == bytes_below(trained / folder)
        assert again


def test_source_interactions_do_change_the_model(trained: Path, tmp_path: Path) -> None:
    """So that the test above could fail."""
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    path = project / "data" / "domains" / DOMAINS[0] / "sequences.parquet"
    sequences = SEQUENCES.read(path)
    SEQUENCES.write(sequences[1:].with_columns(pl.col("user_idx") - 1), path)
    run_stages(project, small_params(), "sources", "train")
    weights = "recg/garden/gru4rec/seed-0.safetensors"
    assert bytes_below(project / "models")[weights] != bytes_below(trained / "models")[weights]


def test_deleted_target_users_leave_the_ranks_of_the_others(trained: Path, tmp_path: Path) -> None:
    """Nothing of a target but a user's own history reaches that user's ranks."""
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    path = project / "data" / "domains" / DOMAINS[1] / "sequences.parquet"
    kept = SEQUENCES.read(path).filter(pl.col("user_idx") % 2 == 0)
    SEQUENCES.write(kept.with_columns(pl.col("user_idx") // 2), path)
    run_stages(project, small_params(), "evaluate")
    cell = f"results/ranks/recg/gru4rec/garden_to_{DOMAINS[1]}.parquet"
    everyone = RANKS.read(trained / cell)
    expected = everyone.filter(pl.col("user_idx") % 2 == 0)
    assert len(expected) == 75
    assert RANKS.read(project / cell).equals(expected.with_columns(pl.col("user_idx") // 2))


def planted(folder: Path, pattern: float) -> dict[str, Any]:
    """Recall@10 of every row and target on the demo corpus with the given pattern.

    Returns:
        `{target: {row: recall}}`; the model's row is `gru4rec-sem`, trained on the first domain.
    """
    params = small_params()
    for seed, domain in enumerate(DOMAINS, start=1):
        row = {"num_users": 800, "num_items": 240, "pattern": pattern, "seed": seed}
        params["domains"][domain] |= row
    params["grid"]["variants"] = ["sem"]
    params = with_value(params, "variants.sem.loss.kind", "softmax")
    params["encoders"]["lsa"]["dim"] = 64
    params["backbones"]["gru4rec"]["dim"] = 64
    params["train"] |= {
        "batch_size": 32, "learning_rate": 0.003, "max_epochs": 12, "patience": 4,
        "valid_users": 800,
        "threads": 1,
    }  # fmt: skip
    run_stages(
        folder, params, "fetch", "preprocess", "encode", "pool", "sources", "backbones",
        "train", "cluster", "baselines", "evaluate",
    )  # fmt: skip
    found: dict[str, Any] = {domain: {} for domain in DOMAINS}
    for path in sorted((folder / "results" / "ranks").rglob("*.json")):
        cell = read_json(path)
        ranks = read_ranks(path.with_suffix(".parquet"))
        recall = ranking_metrics(ranks.num_higher[:, 0], ranks.num_ties[:, 0], ranks.num_candidates)
        row = cell["variant"] if cell["backbone"] is None else f"{cell['backbone']}-sem"
        found[cell["target"]][row] = float(recall["recall@10"].mean())
    return found


def test_a_planted_pattern_is_found_in_one_domain_and_used_in_the_others(tmp_path: Path) -> None:
    """The next finish follows from the last one in every domain alike; similarity misleads."""
    cells = planted(tmp_path, pattern=0.9)
    for target in DOMAINS[1:]:
        recall = cells[target].pop("gru4rec-sem")
        assert len(cells[target]) == 14
        others = {row: of for row, of in cells[target].items() if row not in READ_HISTORIES}
        assert recall > 1.5 * max(others.values()), f"{target}: {recall} against {others}"


def test_without_a_pattern_nothing_differs_from_chance(tmp_path: Path) -> None:
    """Every next item is drawn uniformly, so Recall@10 is a mean of known coin tosses."""
    cells = planted(tmp_path, pattern=0.0)
    for target in DOMAINS:
        path = tmp_path / "results" / "ranks" / "training_free" / f"random_to_{target}.parquet"
        chances = 10 / RANKS.read(path)["num_candidates"].to_numpy()
        expected = float(chances.mean())
        sigma = sqrt(float((chances * (1 - chances)).sum())) / len(chances)
        assert cells[target].pop("random") == pytest.approx(expected)
        assert len(cells[target]) == 14
        for row, recall in cells[target].items():
            assert abs(recall - expected) < 4 * sigma, f"{row} on {target}"
