"""What a search found for a model is what it is trained with, and no other model is."""

import json
from pathlib import Path
from typing import Any

import pytest

from recg_core.base.errors import UserError
from recg_core.base.params import Params
from recg_core.project.check import check_params
from recg_core.training.tuned import model_settings
from tests.project import run_stages, small_params, with_value

TUNED = {
    "sasrec": {
        "backbone": {"dim": 8},
        "train": {"learning_rate": 0.125},
        "variant": {"generalization": {"alpha": 7.0}},
    }
}


def tuned_params(tuned: Any = TUNED) -> dict[str, Any]:
    return with_value(small_params(), "variants.recg.tuned", tuned)


def test_only_the_tuned_backbone_of_the_tuned_variant_differs() -> None:
    before, after = (Params(p, Path("p.yaml")) for p in (small_params(), tuned_params()))

    def settings(params: Params, backbone: str, variant: str) -> Any:
        return model_settings(params, backbone, params.section(f"backbones.{backbone}"), variant)

    for backbone, variant in (("gru4rec", "recg"), ("sasrec", "wo_sg"), ("sasrec", "sem")):
        assert settings(after, backbone, variant) == settings(before, backbone, variant)
    old, new = (settings(params, "sasrec", "recg") for params in (before, after))
    assert new.backbone == {**old.backbone, "dim": 8}
    assert (old.train.learning_rate, new.train.learning_rate) == (0.006, 0.125)
    assert new.train.batch_size == old.train.batch_size
    assert (old.variant.generalization.alpha, new.variant.generalization.alpha) == (30.0, 7.0)
    assert new.variant.generalization.intra == old.variant.generalization.intra


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({"lstm": {}}, r"variants\.recg\.tuned: 'lstm' is no backbone"),
        ({"gru4rec": {"optimizer": {}}}, r"gru4rec: nothing to change at \['optimizer'\]"),
        (
            {"gru4rec": {"backbone": {"num_heads": 2}}},
            r"gru4rec\.backbone: nothing to change at \['num_heads'\]; there are \['dim', ",
        ),
        ({"gru4rec": {"variant": {"generalization": {"beta": 1.0}}}}, r"nothing to .*\['beta'\]"),
        ({"gru4rec": {"train": {"learning_rate": -1.0}}}, r"train: learning_rate must be above 0"),
        ({"gru4rec": {"backbone": {"dim": "wide"}}}, r"tuned\.gru4rec\.backbone.*expected int"),
        ({"gru4rec": [1]}, r"variants\.recg\.tuned\.gru4rec: expected"),
    ],
)
def test_a_mistake_in_what_was_tuned_is_found_before_anything_runs(
    tuned: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_params(Params(tuned_params(tuned), Path("params.yaml")))


def test_a_model_is_trained_with_what_was_tuned_for_it(tmp_path: Path) -> None:
    params = with_value(tuned_params(), "grid.backbones", ["gru4rec", "sasrec"])
    params = with_value(params, "train.max_epochs", 1)
    run_stages(tmp_path, params, "fetch", "preprocess", "encode", "pool", "backbones", "train")
    cards = {
        backbone: json.loads((tmp_path / f"models/recg/garden/{backbone}/model.json").read_text())
        for backbone in ("gru4rec", "sasrec")
    }
    found = {
        backbone: (
            card["spec"]["backbone_args"]["dim"],
            card["train"]["learning_rate"],
            card["spec"]["variant"]["generalization"]["alpha"],
        )
        for backbone, card in cards.items()
    }
    assert found == {"gru4rec": (16, 0.006, 30.0), "sasrec": (8, 0.125, 7.0)}
