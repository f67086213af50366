"""A throw-away backbone, loss and reading: one class, one line, one row, and no test edited."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recg_core.backbones import BACKBONES
from recg_core.backbones.base import CausalBackbone, check_sizes
from recg_core.base.files import read_json
from recg_core.models import backbone_code
from recg_core.training.generalization.base import Reading, item_cosines
from recg_core.training.generalization.intra import INTRA
from recg_core.training.losses import LOSSES
from tests.project import run_stages, small_params
from tests.test_backbones import CONTRACT, row_of
from tests.test_losses import check_loss, check_reading


class Averages(CausalBackbone):
    """The mean of the items so far, through a linear layer for each of `num_layers`."""

    def __init__(self, *, dim: int, max_length: int, num_layers: int) -> None:
        super().__init__(dim, max_length)
        check_sizes(num_layers=num_layers)
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]."""
        count_L1 = torch.arange(1, items_BLD.shape[1] + 1, device=items_BLD.device)[:, None]
        states_BLD = items_BLD.cumsum(dim=1) / count_L1
        for layer in self.layers:
            states_BLD = layer(states_BLD)
        return states_BLD


@dataclass(frozen=True)
class Hinge:
    """Mean of what a negative lacks to a margin below the positive."""

    margin: float

    def __call__(
        self, positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor, num_items: int
    ) -> Tensor:
        """See `Loss`."""
        losses_PM = F.softplus(negatives_PM - positives_P[:, None] + self.margin)
        return (losses_PM * valid_PM).sum() / valid_PM.sum()


class Repulsion(Reading):
    """Mean cosine of the pairs of a domain."""

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """See `Reading`."""
        return item_cosines(items_KSD).mean()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The one line of each, and the file of the backbone."""
    monkeypatch.setitem(BACKBONES, "averages", Averages)
    monkeypatch.setitem(LOSSES, "hinge", Hinge)
    monkeypatch.setitem(INTRA, "repulsion", Repulsion)
    shutil.copytree(backbone_code.FOLDER, tmp_path / "backbones")
    (tmp_path / "backbones" / "averages.py").write_text("# the class of this test\n")
    monkeypatch.setattr(backbone_code, "FOLDER", tmp_path / "backbones")


ROW = {"dim": 16, "max_length": 12, "num_layers": 1}


def test_they_keep_the_contracts() -> None:
    def make(seed: int = 0, **changes: Any) -> CausalBackbone:
        torch.manual_seed(seed)
        return Averages(**{k: v for k, v in {**ROW, **changes}.items() if k in ROW}).eval()

    assert set(row_of("gru4rec")) >= set(ROW)
    for check in CONTRACT:
        check(make)
    check_loss(Hinge(0.5))
    items = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_reading(Repulsion(), items)


@pytest.mark.usefixtures("registered")
def test_their_rows_run_through_the_stages(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    params = small_params()
    params["backbones"]["averages"] = ROW
    params["variants"]["mine"] = {
        "items": {"kind": "text"},
        "loss": {"kind": "hinge", "margin": 0.5},
        "generalization": {"alpha": 0.1, "intra": {"kind": "repulsion"}},
    }
    params["grid"] |= {"backbones": ["averages"], "variants": ["mine"]}
    run_stages(
        folder, params, "fetch", "preprocess", "encode", "pool", "sources", "backbones",
        "train", "cluster", "evaluate",
    )  # fmt: skip
    card = read_json(folder / "models" / "mine" / "garden" / "averages" / "model.json")
    assert card["spec"]["variant"]["loss"] == {"kind": "hinge", "margin": 0.5}
    assert 0 < card["valid_ndcg"][0] < 1
    cells = sorted((folder / "results" / "ranks" / "mine" / "averages").glob("*.json"))
    assert [path.stem for path in cells] == [
        f"garden_to_{target}" for target in ("garden", "kitchen", "office")
    ]
