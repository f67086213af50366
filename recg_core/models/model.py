"""The recommender: item representation, backbone and scores, and its files.

Shapes: B users, L positions, N items of a domain, U distinct items of a batch, H dimension of the
text embeddings, D model dim.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from recg_core.backbones import BACKBONES, Backbone
from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json, write_bytes, write_json
from recg_core.domains.sequences import Ragged
from recg_core.models.anchor import Anchor
from recg_core.ranking.full_rank import ScoreBatch
from recg_core.training.losses import Inter, Intra, Recommendation

MODEL_FILE = "model.json"
ITEMS_AT_ONCE = 8192  # projected together outside training, so that memory stays flat
USERS_AT_ONCE = 1024
COSINE_SCALE = 15.0  # initial factor of cosine scores
RESIDUAL_DECAY = 0.85  # initial weight of an item relative to the next younger one
RESIDUAL_WEIGHT = 2.0  # initial length of the mean relative to an item vector's


@dataclass(frozen=True)
class VariantConfig:
    """One row of the paper's tables: what items are made of and which losses apply."""

    items: Literal["id", "text"]
    projections: int  # 1: Eq. 2; 2: a second one merged with the first (end of section 3.2)
    loss: Recommendation
    inter: Inter
    intra: Intra
    alpha: float  # weight of intra-domain diversity, Eq. 13
    beta: float | None  # weight of inter-domain compactness; null: Eq. 14
    tau: float  # temperature of Eqs. 10 and 12
    clusters: int  # sequential patterns k, Eq. 16; 0: none
    pattern_temperature: float  # 1.0: Eq. 18
    score: Literal["dot", "cosine"] = "dot"  # dot: Eq. 5
    user: Literal["state", "residual"] = "state"  # state: Eq. 4; residual: see `HistoryResidual`
    anchor: Literal["off", "similarity", "similarity_counts"] = (
        "off"  # see `recg_core.models.anchor`
    )

    def __post_init__(self) -> None:
        if self.projections not in (1, 2):
            raise ValueError(f"projections must be 1 or 2, not {self.projections}")
        if self.items == "id" and (self.projections, self.inter, self.intra) != (1, "off", "off"):
            raise ValueError("items: id has one projection and no inter or intra loss")
        if self.items == "id" and self.clusters:
            raise ValueError("items: id cannot be transferred, so clusters must be 0")
        if self.alpha < 0 or (self.beta is not None and self.beta < 0):
            raise ValueError("alpha and beta must not be negative")
        if self.tau <= 0 or self.pattern_temperature <= 0:
            raise ValueError("tau and pattern_temperature must be above 0")
        if self.anchor != "off" and (self.items, self.clusters) != ("text", 0):
            raise ValueError("an anchor needs items: text and clusters: 0")
        if self.clusters < 0:
            raise ValueError(f"clusters must not be negative, got {self.clusters}")

    @property
    def generalizes(self) -> bool:
        """Whether the generalization loss (Eq. 13) is part of training."""
        return self.inter != "off" or self.intra != "off"


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build the model without `params.yaml`."""

    backbone: str
    backbone_args: dict[str, Any]
    variant: VariantConfig
    feature_dim: int  # H for text items, the number of items for id items


class IdItems(nn.Module):
    """A learned vector for each item of the source domain."""

    def __init__(self, *, num_items: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(num_items, dim).normal_(std=dim**-0.5))

    def forward(self, features_U: Tensor) -> Tensor:
        """Vectors [U, D] of the item_idx in `features_U`."""
        return self.table[features_U - 1]


class TextItems(nn.Module):
    """Projected text embeddings: Eq. 2, or two projections concatenated and mapped to D.

    Inputs are divided by `feature_rms`, the root mean square of the source's embeddings: one
    number, so that training does not depend on the scale of the encoder.
    """

    feature_rms: Tensor

    def __init__(self, *, feature_dim: int, dim: int, projections: int) -> None:
        super().__init__()
        self.register_buffer("feature_rms", torch.ones(()))
        self.projections = nn.Linear(feature_dim, projections * dim)
        self.merge = nn.Linear(projections * dim, dim) if projections > 1 else None

    def forward(self, features_UH: Tensor) -> Tensor:
        """Item vectors [U, D] of text embeddings [U, H]."""
        weight, bias = self.projections.weight, self.projections.bias
        if self.merge is not None:
            # Two linear maps in a row are one, and its matrix costs less than a second product
            # with every item once a batch has more than about 2.5 D of them.
            weight, bias = self.merge.weight @ weight, self.merge(bias)
        return F.linear(features_UH, weight / self.feature_rms, bias)


class HistoryResidual(nn.Module):
    """Adds the recency-weighted mean of a user's item vectors to the states of a backbone.

    What is added stays in the space of the item vectors of any domain, whatever the backbone has
    learned of its source. The weight of an item relative to the next younger one, and that of the
    mean relative to the state, are learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_decay = nn.Parameter(torch.tensor(math.log(RESIDUAL_DECAY)))
        self.log_weight = nn.Parameter(torch.tensor(math.log(RESIDUAL_WEIGHT)))

    def forward(self, states_BLD: Tensor, items_BLD: Tensor) -> Tensor:
        """States [B, L, D] plus, at each position, the mean of the items up to there."""
        position_L = torch.arange(items_BLD.shape[1], device=items_BLD.device)
        age_LL = position_L[:, None] - position_L[None]
        weight_LL = (self.log_decay * age_LL.clamp(min=0)).exp() * (age_LL >= 0)
        mean_BLD = F.normalize(weight_LL @ items_BLD, dim=-1) * math.sqrt(items_BLD.shape[-1])
        return states_BLD + self.log_weight.exp() * mean_BLD


class SequentialRecommender(nn.Module):
    """Scores a domain's items for a user history: <y, e> (Eqs. 4-5)."""

    def __init__(
        self,
        items: IdItems | TextItems,
        backbone: Backbone,
        *,
        cosine: bool = False,
        residual: HistoryResidual | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        super().__init__()
        self.items = items
        self.backbone = backbone
        self.log_scale = nn.Parameter(torch.tensor(math.log(COSINE_SCALE))) if cosine else None
        self.residual = residual
        self.anchor = anchor

    def item_vectors(self, features: Tensor) -> Tensor:
        """Item vectors e [U, D]; under cosine scores all of length sqrt(D), so that the backbone
        reads numbers of the usual size."""
        vectors_UD = self.items(features)
        if self.log_scale is None:
            return vectors_UD
        return F.normalize(vectors_UD, dim=-1) * math.sqrt(vectors_UD.shape[-1])

    def states(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D] whose product with item vectors is the score: <y, e> of Eq. 5, or
        the learned scale times the cosine."""
        states_BLD = self.backbone(items_BLD, inputs_BL)
        if self.residual is not None:
            states_BLD = self.residual(states_BLD, items_BLD)
        if self.log_scale is None:
            return states_BLD
        length = self.log_scale.exp() / math.sqrt(states_BLD.shape[-1])
        return F.normalize(states_BLD, dim=-1) * length

    def item_table(self, features: Tensor) -> Tensor:
        """Vectors [N + 1, D] of all items of a domain; row 0, the padding, is zero.

        Args:
            features: [N, H] text embeddings, or [N] item_idx for a model of item ids.
        """
        rows = [self.item_vectors(part) for part in features.split(ITEMS_AT_ONCE)]
        return torch.cat([rows[0].new_zeros((1, rows[0].shape[1])), *rows])

    def user_vectors(self, table: Tensor, histories_BL: Tensor) -> Tensor:
        """User vectors y [B, D] of histories over the rows of `table`."""
        inputs_BL, last_B = self.backbone.inference_views(histories_BL)
        states_BLD = self.states(table[inputs_BL.clamp(min=0)], inputs_BL)
        return states_BLD[torch.arange(len(last_B), device=last_B.device), last_B]


def create_model(spec: ModelSpec) -> SequentialRecommender:
    """Build the model; parameters are drawn from the global generator.

    Raises:
        UserError: on an unknown backbone or arguments that it refuses.
    """
    if spec.backbone not in BACKBONES:
        raise UserError(f"unknown backbone '{spec.backbone}'; valid ones are {sorted(BACKBONES)}")
    address = f"backbones.{spec.backbone}"
    backbone = build(BACKBONES[spec.backbone], spec.backbone_args, address)
    items: IdItems | TextItems
    if spec.variant.items == "id":
        items = IdItems(num_items=spec.feature_dim, dim=backbone.dim)
    else:
        items = TextItems(
            feature_dim=spec.feature_dim,
            dim=backbone.dim,
            projections=spec.variant.projections,
        )
    anchor = None
    if spec.variant.anchor != "off":
        counts = spec.variant.anchor == "similarity_counts"
        anchor = Anchor(max_age=backbone.max_length, counts=counts)
    return SequentialRecommender(
        items,
        backbone,
        cosine=spec.variant.score == "cosine",
        residual=HistoryResidual() if spec.variant.user == "residual" else None,
        anchor=anchor,
    )


@dataclass(frozen=True)
class ModelCard:
    """`model.json`: what was trained, on what, with what result."""

    spec: ModelSpec
    source: str
    encoder_fingerprint: str
    pool_domains: list[str]  # whose item texts the generalization loss saw
    train: dict[str, Any]
    seeds: list[int]
    best_epoch: list[int]  # of each seed
    valid_ndcg: list[float]  # NDCG@10 on the source's validation items, of each seed

    def write(self, folder: Path) -> None:
        """Write `model.json`; its presence says that the folder is complete."""
        write_json(folder / MODEL_FILE, dataclasses.asdict(self))


def read_card(folder: Path) -> ModelCard:
    """Read the `model.json` of a trained model.

    Raises:
        UserError: when it is missing or not of this form.
    """
    return build(ModelCard, read_json(folder / MODEL_FILE), str(folder / MODEL_FILE))


def weights_path(folder: Path, seed: int) -> Path:
    """Where a seed's weights lie in a model's folder."""
    return folder / f"seed-{seed}.safetensors"


def save_weights(model: SequentialRecommender, folder: Path, seed: int) -> None:
    """Write the model's parameters atomically."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(weights_path(folder, seed), save(tensors))


def load_model(folder: Path, seed: int, spec: ModelSpec) -> SequentialRecommender:
    """The trained model of a seed, on the CPU and in evaluation mode.

    Raises:
        UserError: when the weights are missing or were made for other dimensions.
    """
    path = weights_path(folder, seed)
    model = create_model(spec)
    try:
        model.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: not readable ({error}); run the train stage again") from error
    except RuntimeError as error:
        raise UserError(
            f"{path}: does not fit the model that {MODEL_FILE} describes ({error}); "
            "run the train stage again"
        ) from error
    return model.eval()


def model_features(variant: VariantConfig, text: np.ndarray) -> Tensor:
    """What a model's items read, one row an item of a domain: embeddings [N, H], or ids [N].

    With `inter: centered` the domain's mean embedding is subtracted, which needs no interactions.
    """
    if variant.items == "id":
        return torch.arange(1, len(text) + 1)
    features_NH = torch.from_numpy(text)
    return features_NH - features_NH.mean(dim=0) if variant.inter == "centered" else features_NH


@torch.no_grad()
def user_matrix(model: SequentialRecommender, table: Tensor, histories: Ragged) -> Tensor:
    """User vectors [rows, D] of all histories, batched by length so that little is padding."""
    last = model.backbone.history_length
    order = np.argsort(np.minimum(histories.lengths, last), kind="stable")
    users = table.new_empty((len(histories), table.shape[1]))
    for start in range(0, len(order), USERS_AT_ONCE):
        rows = order[start : start + USERS_AT_ONCE]
        histories_BL = torch.from_numpy(histories.padded(rows, last)).to(table.device)
        users[torch.from_numpy(rows).to(table.device)] = model.user_vectors(table, histories_BL)
    return users


def dot_scorer(users: Tensor, table: Tensor) -> ScoreBatch:
    """A function from rows of `users` [rows, D] to scores [B, N] of all items of `table`, Eq. 5."""
    items_DN = table[1:].T
    return lambda rows: users[torch.from_numpy(rows).to(users.device)] @ items_DN


def sum_scorer(*scorers: ScoreBatch) -> ScoreBatch:
    """The sum of several scorers of the same rows and items."""
    return lambda rows: torch.stack([scorer(rows) for scorer in scorers]).sum(dim=0)
