"""`make paper` runs every row of the paper's tables, with the settings that it names."""

import csv
import itertools
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from recg_core.base.params import Params
from recg_core.project.check import check_params
from tests.project import ROOT, run_stages, small_params

DOMAINS = ["IS", "VG", "MI"]
BACKBONES = ["gru4rec", "sasrec", "bert4rec"]
ABLATION = ["wo_ig", "wo_id", "wo_ic", "wo_sg"]
# What the tables of the paper have, in both readings of its method.
ROWS = {
    "id", "sem", "recg", "recg_printed", *ABLATION, *(f"printed_{name}" for name in ABLATION),
}  # fmt: skip


def overrides(target: str, *variables: str) -> list[str]:
    """What the target's command sets in `params.yaml`."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target, *variables],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (line,) = [line for line in printed.splitlines() if line.startswith("dvc exp run")]
    words = shlex.split(line)
    return [value for option, value in itertools.pairwise(words) if option == "-S"]


def paper_params(folder: Path, base: dict[str, Any], *variables: str) -> dict[str, Any]:
    """The params that `make paper` runs with."""
    path = folder / "params.yaml"
    with path.open("w") as stream:
        YAML().dump(base, stream)
    apply_overrides(path, overrides("paper", *variables))
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())
    return values


def test_the_preset_has_every_row_of_the_papers_tables_and_its_settings(tmp_path: Path) -> None:
    base = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    params = paper_params(tmp_path, base)
    check_params(Params(params, tmp_path / "params.yaml"))
    grid = params["grid"]
    assert (grid["domains"], grid["sources"], grid["backbones"]) == (DOMAINS, DOMAINS, BACKBONES)
    assert set(grid["variants"]) == ROWS
    assert params["encoder"] == "llm2vec"
    assert len(params["seeds"]) == 5
    assert params["train"]["batch_size"] == 128
    assert params["report"]["num_negatives"] == 100
    assert params["report"]["ks"] == [5, 10, 20]
    assert params["report"]["drop_overlap_users"]


def test_each_ablation_is_its_method_without_one_part() -> None:
    """But for what the part alone needs: the second projection, and the centring of `recg`."""
    variants = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())["variants"]
    printed = variants["recg_printed"]
    assert variants["printed_wo_sg"] == {k: v for k, v in printed.items() if k != "patterns"}
    for name, part in (("printed_wo_id", "intra"), ("printed_wo_ic", "inter")):
        left = {k: v for k, v in printed["generalization"].items() if k != part}
        assert variants[name] == {**printed, "generalization": left}
    without = {k: v for k, v in printed.items() if k != "generalization"}
    assert variants["printed_wo_ig"] == {**without, "items": {"kind": "text"}}


def test_the_preset_runs_and_reports_every_row(tmp_path: Path) -> None:
    """On three small domains, trained on one of them, with what `make paper` sets but for sizes."""
    names = "[garden,kitchen,office]"
    local = paper_params(tmp_path, small_params(), f"AMAZON={names}", "ENCODER=lsa", "SEEDS=[0]")
    for row in local["domains"].values():
        row["num_users"] = 60
    local["grid"]["sources"] = ["garden"]
    local["train"] |= {"max_epochs": 1, "batch_size": 32, "negatives": 16, "domain_sample": 8}
    local["report"]["num_resamples"] = 10
    local["figures"] |= {"items": 20, "users": 20, "perplexity": 5.0}
    run_stages(
        tmp_path, local, "fetch", "preprocess", "encode", "pool", "backbones", "train", "cluster",
        "baselines", "evaluate", "slices", "report",
    )  # fmt: skip
    tables = tmp_path / "results" / "report" / "tables"
    with (tables / "table6_sampled_100.csv").open() as stream:
        sixth = {(row["Backbone"], row["Variant"]) for row in csv.DictReader(stream)}
    assert sixth == {(b, variant) for b in BACKBONES for variant in ROWS - {"id"}}
    for backbone in BACKBONES:
        with (tables / f"table4_{backbone}_sampled_100.csv").open() as stream:
            fourth = csv.DictReader(stream).fieldnames or ()
        with (tables / f"table5_{backbone}_sampled_100.csv").open() as stream:
            fifth = csv.DictReader(stream).fieldnames or ()
        shown = {f"{backbone}-{variant}" for variant in ("sem", "recg", "recg_printed")}
        assert shown < set(fourth)
        assert shown | {f"{backbone}-id"} < set(fifth)
