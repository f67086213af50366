"""A domain of items that nobody has met yet, through every stage."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.project import Done, run_command, run_stages, small_params, stage_of, write_params
from tests.rows import COLUMNS

SAID = (
    "shop: has no interactions; it can be neither trained on nor evaluated; its items can be "
    "recommended"
)


def shop_params(folder: Path) -> dict[str, Any]:
    """Garden as source, kitchen and a shop without interactions as targets."""
    columns = ("item", "name", "about")
    things = [(f"i{i}", f"Lamp {i}", f"A lamp of brass with {i} bulbs") for i in range(40)]
    pl.DataFrame(things, schema=columns, orient="row").write_csv(folder / "things.csv")
    params = small_params()
    keys = ("item_id", "title", "description")
    params["domains"]["shop"] = {
        "reader": "table",
        "items": str(folder / "things.csv"),
        "columns": {key: COLUMNS[key] for key in keys},
    }
    params["grid"]["domains"] = ["garden", "kitchen", "shop"]
    params["pool"]["domains"] = params["encoders"]["lsa"]["fit_domains"] = ["garden", "shop"]
    return params


BEFORE = ("fetch", "preprocess", "encode", "pool", "sources", "backbones", "train", "cluster")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("shop")
    params = shop_params(folder)
    run_stages(folder, params, *BEFORE)
    return folder, params


def test_as_a_target_it_is_named_and_left_out(
    trained: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    folder, params = trained
    for stage in ("evaluate", "baselines", "slices"):
        caplog.clear()
        run_stages(folder, params, stage)
        assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [SAID]
    run_stages(folder, params, "figures", "report")
    report = (folder / "results/report/report.md").read_text(encoding="utf-8")
    assert report.count(SAID) == 1
    assert "nan" not in report.lower().split()
    assert "| shop | 40 | 0 | 0 |" in report
    assert not list((folder / "results/ranks").rglob("*shop*"))


def refused(folder: Path, params: dict[str, Any], stage: str) -> Done:
    write_params(folder, params)
    return run_command(stage_of(params, stage).command, folder)


@pytest.mark.parametrize("stage", ["train", "cluster"])
def test_as_a_source_it_is_refused_in_one_sentence(
    trained: tuple[Path, dict[str, Any]], stage: str
) -> None:
    folder, params = trained
    params = {**params, "grid": {**params["grid"], "sources": ["shop"]}}
    run_stages(folder, params, "sources")
    if stage == "cluster":  # as if it had been trained when there were interactions
        shutil.copytree(folder / "models/recg/garden", folder / "models/recg/shop")
    done = refused(folder, params, stage)
    assert (done.status, done.stderr) == (1, f"error: {SAID}\n")


@pytest.mark.parametrize("stage", ["evaluate", "baselines", "slices", "report"])
def test_alone_it_is_refused_in_one_sentence(
    trained: tuple[Path, dict[str, Any]], stage: str
) -> None:
    folder, params = trained
    grid = {**params["grid"], "domains": ["shop"], "sources": ["shop"]}
    alone = {**params, "grid": grid, "pool": {**params["pool"], "domains": ["shop"]}}
    alone["encoders"] = {"lsa": {**params["encoders"]["lsa"], "fit_domains": ["shop"]}}
    done = refused(folder, alone, stage)
    assert done.status == 1
    assert done.stderr.endswith(f"error: {SAID}\n")
    assert "Traceback" not in done.stderr


def test_the_counts_of_the_shop_are_zero(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = trained
    stats = json.loads((folder / "data/domains/shop/stats.json").read_text())
    assert (stats["num_items"], stats["num_users"], stats["num_test_users"]) == (40, 0, 0)
