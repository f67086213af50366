"""All mistakes of a `params.yaml` are reported together, before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from recg_core.base.errors import UserError
from recg_core.base.params import Params, read_params
from recg_core.project.check import check_params
from tests.project import ROOT, small_params, with_value

SHOP = {
    "reader": "table",
    "interactions": "v.csv",
    "items": "i.csv",
    "columns": {"user_id": "u", "item_id": "i", "title": "t"},
}


def mistakes(params: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as caught:
        check_params(Params(params, Path("params.yaml")))
    count, *found = str(caught.value).splitlines()
    assert count == f"{len(found)} mistake(s)"
    return found


def test_the_params_of_the_project_have_none() -> None:
    check_params(read_params(ROOT / "params.yaml"))
    check_params(Params(small_params(), Path("params.yaml")))


def test_all_are_found_at_once() -> None:
    params = small_params()
    for address, value in {
        "train.patience": 0,
        "seeds": [1, 1],
        "grid.backbones": ["sasrec", "gru5rec"],
        "backbones.sasrec.heads": 2,
        "variants.recg.generalization.alfa": 1,
        "variants.sem.loss": {"kind": "bbr"},
        "domains.garden.reader": "demmo",
        "encoders.lsa.template": "{title",
        "report.headline_k": 7,
    }.items():
        params = with_value(params, address, value)
    params = with_value(params, "grid.variants", ["sem", "recg"])
    found = mistakes(params)
    for start in (
        "train: patience must be above 0",
        "report: headline_k must be one of ks",
        "seeds: expected distinct",
        "template '{title'",
        "domains.garden.reader: expected one of",
        "backbones.sasrec: unknown key(s) ['heads']",
        "grid.backbones: 'gru5rec' is none; there are",
        "variants.sem.loss.kind: expected one of",
        "variants.recg.generalization: unknown key(s) ['alfa']",
    ):
        assert any(start in message for message in found), (start, found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "preprocess.text_rule: features_or_description asks for a text that the items of"),
        ({"preprocess.text_rule": "any", "encoders.lsa.template": "{brand}"}, "['brand']"),
        ({"preprocess.text_rule": "any", "preprocess.min_rating": 3.0}, "garden has no ratings"),
        (
            {"preprocess.text_rule": "any", "domains.garden.interactions": None},
            "garden has no interactions; it can be neither trained on nor evaluated",
        ),
        (
            {"preprocess.domains": {"garden": {"k_core": 0}}},
            "preprocess.domains.garden: k_core must be 1 or more",
        ),
    ],
)
def test_a_domain_must_hold_what_is_asked_of_it(changes: dict[str, Any], message: str) -> None:
    params = with_value(small_params(), "domains.garden", SHOP)
    params = with_value(params, "preprocess.text_rule", "features_or_description")
    for address, value in changes.items():
        params = with_value(params, address, value)
    assert any(message in found for found in mistakes(params)), mistakes(params)


def test_a_loss_that_compares_three_domains_needs_them() -> None:
    params = with_value(small_params(), "grid.variants", ["recg_printed"])
    params = with_value(params, "pool.domains", ["garden"])
    params = with_value(params, "grid.sources", ["garden"])
    (found,) = mistakes(params)
    assert found.startswith("variants.recg_printed: the inter-domain loss compares 3 domains")
