"""`model.json`: what was trained, on what, with what result."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json, write_json
from recg_core.domains.domain import Domain
from recg_core.models.variant import IdItemsConfig, VariantConfig

MODEL_FILE = "model.json"
PATTERNS_FILE = "patterns.json"


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build the model without `params.yaml`."""

    backbone: str
    backbone_args: dict[str, Any]
    variant: VariantConfig
    feature_dim: int  # H for text items, the number of items for id items


@dataclass(frozen=True)
class ModelCard:
    """The content of `model.json`."""

    spec: ModelSpec
    source: str
    encoder_fingerprint: str
    pool_domains: list[str]  # whose item texts the generalization loss saw
    backbone_sha256: str  # of the backbone's code, see `recg_core.models.backbone_code`
    train: dict[str, Any]
    seeds: list[int]
    best_epoch: list[int]  # of each seed
    valid_ndcg: list[float]  # NDCG@10 on all validation items of the source, of each seed

    def write(self, folder: Path) -> None:
        """Write `model.json`; its presence says that the folder is complete."""
        write_json(folder / MODEL_FILE, dataclasses.asdict(self))


def read_card(folder: Path) -> ModelCard:
    """Read the `model.json` of a trained model.

    Raises:
        UserError: when it is missing or not of this form.
    """
    return build(ModelCard, read_json(folder / MODEL_FILE), str(folder / MODEL_FILE))


def model_names(folder: Path) -> list[str]:
    """The names of the models whose folders are in `folder`.

    Raises:
        UserError: when there is none.
    """
    names = sorted(path.parent.name for path in folder.glob(f"[!.]*/{MODEL_FILE}"))
    if not names:
        raise UserError(f"{folder}: holds no trained model; run the train stage")
    return names


def spec_of(
    backbone: str, backbone_args: dict[str, Any], variant: VariantConfig, source: Domain
) -> ModelSpec:
    """The model of a variant for the items of its source."""
    by_id = isinstance(variant.items, IdItemsConfig)
    dimension = source.num_items if by_id else source.text.shape[1]
    return ModelSpec(backbone, backbone_args, variant, dimension)


def check_fit(card: ModelCard, domain: Domain, model: Path) -> None:
    """Refuse a domain whose items the model cannot read.

    Args:
        model: the model's folder, named in errors.

    Raises:
        UserError: when the embeddings are not of the encoder that the model was trained with, or
            the catalogue is not that of a model of item ids.
    """
    if isinstance(card.spec.variant.items, IdItemsConfig):
        if domain.name != card.source:
            raise UserError(
                f"{model}: a model of item ids knows the items of {card.source} alone, not those "
                f"of {domain.name}"
            )
        if card.spec.feature_dim != domain.num_items:
            raise UserError(
                f"{model}: trained on {card.spec.feature_dim} items, {domain.name} has "
                f"{domain.num_items}; run the train stage again"
            )
        return
    found = domain.text.shape[1]
    if card.spec.feature_dim != found:
        raise UserError(
            f"{model}: trained on embeddings of {card.spec.feature_dim} dimensions, those of "
            f"{domain.name} have {found}; run the train stage again with this encoder"
        )
    if card.encoder_fingerprint != domain.encoder_fingerprint:
        raise UserError(
            f"{model}: trained on embeddings of another encoder than those of {domain.name}; run "
            "the train stage again with this encoder"
        )
