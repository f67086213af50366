"""The settings of one model: rows of the params, as a search changed them for its backbone.

A variant's row may hold what `recg search` found, by backbone and by the section that it changes:

    tuned:
      sasrec:
        backbone: {dim: 128}
        train: {learning_rate: 0.0005}
        variant: {generalization: {alpha: 0.001}}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recg_core.base.config import build, convert
from recg_core.base.errors import UserError
from recg_core.base.params import Params
from recg_core.models.variant import VariantConfig
from recg_core.training.config import TrainConfig

TUNED = "tuned"  # key of a variant's row


@dataclass(frozen=True)
class ModelSettings:
    """What a model of a backbone and a variant is made of, and how it is trained."""

    backbone: dict[str, Any]  # the arguments of its class
    variant: VariantConfig
    train: TrainConfig


def model_settings(
    params: Params, backbone: str, backbone_row: Mapping[str, Any], variant: str
) -> ModelSettings:
    """The settings of a backbone in a variant.

    Raises:
        UserError: on a mistake in a row, or a change of a key that the changed row does not have.
    """
    rows = {
        "backbone": dict(backbone_row),
        "train": params.section("train"),
        "variant": variant_row(params, variant),
    }
    place = f"{params.path}: variants.{variant}.{TUNED}.{backbone}"
    rows = _changed(rows, tuned_rows(params, variant).get(backbone, {}), place)
    return ModelSettings(
        rows["backbone"],
        build(VariantConfig, rows["variant"], f"variants.{variant}"),
        build(TrainConfig, rows["train"], "train"),
    )


def variant_row(params: Params, variant: str) -> dict[str, Any]:
    """The row of a variant, without what was tuned."""
    return {k: v for k, v in params.section(f"variants.{variant}").items() if k != TUNED}


def tuned_rows(params: Params, variant: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What was tuned in a variant: by backbone, changes by section.

    Raises:
        UserError: when there is anything else.
    """
    place = f"{params.path}: variants.{variant}.{TUNED}"
    tuned = params.section(f"variants.{variant}").get(TUNED, {})
    return dict(convert(tuned, dict[str, dict[str, dict[str, Any]]], place))


def _changed(row: Mapping[str, Any], changes: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A copy of a row with other values at keys that it has, at any depth."""
    if unknown := sorted(changes.keys() - row.keys()):
        raise UserError(f"{place}: nothing to change at {unknown}; there are {sorted(row)}")
    changed = dict(row)
    for key, value in changes.items():
        nested = isinstance(row[key], Mapping) and isinstance(value, Mapping)
        changed[key] = _changed(row[key], value, f"{place}.{key}") if nested else value
    return changed
