"""`model.json`: what was trained, on what, with what result."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_sealed_json
from recg_core.base.sources import domains_of
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.variant import VariantConfig

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
class Origin:
    """What a model was made of, and so which domains it can read."""

    spec: ModelSpec
    source: str  # the name of what it was trained on, `IS`, or `IS+VG` of two domains
    encoder_fingerprint: str  # of the encoder of the source's embeddings

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that it was trained on."""
        return domains_of(self.source)

    def check(self, domain: Domain, label: str) -> None:
        """Refuse a domain whose items the model, named `label` in errors, cannot read.

        Raises:
            UserError: when the embeddings are by another encoder than those of the source, or the
                catalogue is not that of a model of item ids.
        """
        size, again = self.spec.feature_dim, "run the train stage again"
        if self.spec.variant.by_id:
            if domain.name != self.source:
                raise UserError(
                    f"{label}: a model of item ids knows the items of {self.source} alone, "
                    f"not those of {domain.name}"
                )
            if size != domain.num_items:
                raise UserError(
                    f"{label}: trained on {size} items, {domain.name} has "
                    f"{domain.num_items}; {again}"
                )
        elif size != domain.text.shape[1]:
            raise UserError(
                f"{label}: trained on embeddings of {size} dimensions, those of "
                f"{domain.name} have {domain.text.shape[1]}; {again} with this encoder"
            )
        elif self.encoder_fingerprint != domain.encoder_fingerprint:
            raise UserError(
                f"{label}: trained on embeddings of another encoder than those of "
                f"{domain.name}; {again} with this encoder"
            )


@dataclass(frozen=True)
class ModelCard(Origin):
    """The content of `model.json`."""

    pool_domains: list[str]  # whose item texts the generalization loss saw
    backbone_sha256: str  # of the backbone's code, see `recg_core.models.backbone_code`
    train: dict[str, Any]
    seeds: list[int]
    best_epoch: list[int]  # of each seed
    valid_ndcg: list[float]  # NDCG@10 on all validation items of the source, of each seed
    curve_sha256: str  # of the CSV of its training curves

    def write(self, folder: Path) -> None:
        """Write `model.json`; its presence says that the folder is complete."""
        write_sealed_json(folder / MODEL_FILE, dataclasses.asdict(self))


def read_card(folder: Path) -> ModelCard:
    """Read the `model.json` of a trained model.

    Raises:
        UserError: when it is missing, damaged or not of this form.
    """
    path = folder / MODEL_FILE
    return build(ModelCard, read_sealed_json(path, "run the train stage"), str(path))


def model_names(folder: Path) -> list[str]:
    """The names of the models whose folders are in `folder`.

    Raises:
        UserError: when there is none.
    """
    names = sorted(path.parent.name for path in folder.glob(f"[!.]*/{MODEL_FILE}"))
    if not names:
        raise UserError(f"{folder}: holds no trained model; run the train stage")
    return names


def require_one_domain(source: str, said: str) -> None:
    """Refuse a source of several domains for a model of item ids, which shares nothing of them.

    Args:
        said: names the model in the error.

    Raises:
        UserError: naming the source.
    """
    if len(domains_of(source)) > 1:
        raise UserError(
            f"{said}: knows items by their ids, which domains do not share, so it cannot be "
            f"trained on {source}: leave the variant or this source out"
        )


def spec_of(
    backbone: str, backbone_args: dict[str, Any], variant: VariantConfig, source: SourceDomains
) -> ModelSpec:
    """The model of a variant for the items of its source.

    Raises:
        UserError: when it knows items by their ids and the source has several domains.
    """
    if variant.by_id:
        require_one_domain(source.name, backbone)
    first = source.domains[0]
    dimension = first.num_items if variant.by_id else first.text.shape[1]
    return ModelSpec(backbone, backbone_args, variant, dimension)
