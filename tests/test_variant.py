"""A variant is the parts that it has; a key without effect cannot be written."""

import dataclasses
from typing import Any

import pytest

from recg_core.base.config import build, build_kind
from recg_core.base.errors import UserError
from recg_core.models.variant import VariantConfig
from recg_core.training.generalization import checked_readings
from recg_core.training.losses import LOSSES
from tests.project import read_yaml

ROWS: dict[str, dict[str, Any]] = read_yaml("params.yaml")["variants"]
BPR = {"kind": "bpr"}
TEXT = {"kind": "text"}
ENTROPY = {"kind": "entropy", "tau": 1.0}
CENTERS = {"kind": "centers"}


def variant_of(row: dict[str, Any]) -> VariantConfig:
    return build(VariantConfig, row, "v")


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_the_params_can_be_built_and_read_back(name: str) -> None:
    """As `model.json` does."""
    variant = variant_of(ROWS[name])
    assert variant_of(dataclasses.asdict(variant)) == variant
    build_kind(LOSSES, variant.loss, "v.loss")
    if variant.generalization is not None:
        checked_readings(variant.generalization, ["a", "b", "c"], "v")


def test_an_absent_part_is_none() -> None:
    variant = variant_of({"items": TEXT, "loss": BPR})
    assert (variant.generalization, variant.patterns, variant.anchor) == (None, None, None)
    assert (variant.score, variant.user, variant.centered, variant.reads_histories) == (
        "dot", "state", False, False
    )  # fmt: skip
    null = {"generalization": None, "patterns": None, "anchor": None}
    assert variant_of({"items": TEXT, "loss": BPR, **null}) == variant


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"items": {"kind": "id", "projections": 2}},
            "v.items: unknown key(s) ['projections']; valid keys are ['kind']",
        ),
        (
            {"items": {"kind": "text", "projections": 3}},
            "v.items: projections must be 1 or 2, not 3",
        ),
        (
            {"items": {"kind": "id"}, "patterns": {"clusters": 3}},
            "v: items of kind id know no other domain, so ['patterns'] cannot be used",
        ),
        (
            {"items": {"kind": "id"}, "generalization": {"alpha": 1.0, "intra": ENTROPY}},
            "v: items of kind id know no other domain, so ['generalization'] cannot be used",
        ),
        (
            {"patterns": {"clusters": 0}},
            "v.patterns: clusters must be 1 or more and temperature above 0",
        ),
        (
            {"patterns": {"clusters": 3}, "anchor": {"counts": True}},
            "v: anchor and patterns each decide what is said in other domains: use one",
        ),
        (
            {"anchor": {"counts": 1}},
            "v.anchor.counts: expected bool, got int 1",
        ),
        (
            {"generalization": {}},
            "v.generalization: names neither intra nor inter: leave it out of the variant",
        ),
        (
            {"generalization": {"intra": ENTROPY}},
            "v.generalization: alpha is missing: it weighs intra, and Eq. 14 makes beta of it",
        ),
        (
            {"generalization": {"inter": CENTERS}},
            "v.generalization: alpha is missing: it weighs intra, and Eq. 14 makes beta of it",
        ),
        (
            {"generalization": {"intra": ENTROPY, "alpha": 1.0, "beta": 1.0}},
            "v.generalization: beta has no effect without inter",
        ),
        (
            {"generalization": {"inter": CENTERS, "alpha": 1.0, "beta": 1.0}},
            "v.generalization: alpha has no effect without intra where beta is set",
        ),
        (
            {"generalization": {"intra": ENTROPY, "alpha": 0.0}},
            "v.generalization: alpha and beta must be above 0: leave out what is not wanted",
        ),
    ],
)
def test_what_has_no_effect_or_makes_no_sense_is_refused(
    part: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        variant_of({"items": TEXT, "loss": BPR, **part})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "generalization",
    [
        {"inter": CENTERS, "beta": 0.5},
        {"inter": CENTERS, "alpha": 0.5},
        {"intra": ENTROPY, "inter": CENTERS, "alpha": 0.5, "beta": 0.1},
    ],
)
def test_weights_that_have_an_effect_are_taken(generalization: dict[str, Any]) -> None:
    variant_of({"items": TEXT, "loss": BPR, "generalization": generalization})


def test_every_member_of_the_registries_has_a_row_that_a_reader_can_run() -> None:
    """A reading that no row uses would be dead code."""
    from recg_core.training.generalization.inter import INTER
    from recg_core.training.generalization.intra import INTRA

    parts = [row.get("generalization", {}) for row in ROWS.values()]
    used = {name: {part.get(name, {}).get("kind") for part in parts} for name in ("inter", "intra")}
    used["loss"] = {row["loss"]["kind"] for row in ROWS.values()}
    assert used["inter"] >= set(INTER)
    assert used["intra"] >= set(INTRA)
    assert used["loss"] == set(LOSSES)
