"""The README's library recipe gives the scores that evaluation ranks, for every kind of row."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recg_core.domains.domain import load_domain
from recg_core.models.ranking.ranks import read_ranks
from tests.project import ROOT, run_stages, small_params

VARIANTS = ["sem", "recg", "anchored", "anchored_counts"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with the models that the recipe names."""
    folder = tmp_path_factory.mktemp("project")
    params = small_params()
    params["grid"] |= {"backbones": ["sasrec"], "variants": VARIANTS}
    run_stages(
        folder, params, "fetch", "preprocess", "encode", "pool", "backbones", "train", "cluster",
        "evaluate",
    )  # fmt: skip
    return folder


def recipe() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"As a library, without DVC:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_recipe_scores_as_evaluation_does(
    variant: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    names: dict[str, Any] = {}
    code = recipe()
    assert code.count("recg/garden") == 1
    exec(code.replace("recg/garden", f"{variant}/garden"), names)
    scores = names["scores"]
    office = load_domain(Path("data/domains/office"), Path("data/embeddings/lsa/office"))
    assert scores.shape == (10, office.num_items)
    stored = read_ranks(Path(f"results/ranks/{variant}/sasrec/garden_to_office.parquet"))
    holdout = office.sequences.holdout("test")
    for row, item in enumerate(holdout.target[:10].tolist()):
        seen = set(holdout.history.take(np.array([row])).values.tolist()) - {item}
        others = [j for j in range(office.num_items) if j + 1 not in seen]
        higher = int((scores[row, others] > scores[row, item - 1]).sum())
        assert higher == stored.num_higher[row, 0]
    assert os.getcwd() == str(project)
