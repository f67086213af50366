"""The recommender: item vectors, a backbone, and what turns its states into users.

Shapes: B users, L positions, N items of a domain, U distinct items of a batch, H dimension of the
text embeddings, D model dim.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recg_core.backbones import BACKBONES, Backbone
from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.models.anchor import Anchor
from recg_core.models.card import ModelSpec
from recg_core.models.items import IdItems, TextItems
from recg_core.models.rows import Rows
from recg_core.models.variant import IdItemsConfig, VariantConfig

if TYPE_CHECKING:
    from recg_core.models.in_context.scorer import InContext

ITEMS_AT_ONCE = 8192  # projected together outside training, so that memory stays flat
COSINE_SCALE = 15.0  # initial factor of cosine scores
RESIDUAL_DECAY = 0.85  # initial weight of an item relative to the next younger one
RESIDUAL_WEIGHT = 2.0  # initial length of the mean relative to an item vector's
ANCHOR_RATE = 5.0  # learning rate of the anchor relative to that of the other parameters


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
        self, items: IdItems | TextItems, backbone: Backbone, variant: VariantConfig
    ) -> None:
        super().__init__()
        self.items = items
        self.backbone = backbone
        cosine, anchor = variant.score == "cosine", variant.anchor
        self.log_scale = nn.Parameter(torch.tensor(math.log(COSINE_SCALE))) if cosine else None
        self.residual = HistoryResidual() if variant.user == "residual" else None
        self.anchor = Anchor(backbone.max_length, counts=anchor.counts) if anchor else None
        self.in_context = _in_context() if variant.in_context is not None else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def parameter_groups(self, learning_rate: float) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters and their learning rates: the anchor's few, whose gradients agree, take
        larger steps than the others."""
        anchor = [] if self.anchor is None else list(self.anchor.parameters())
        own = {id(parameter) for parameter in anchor}
        others = [parameter for parameter in self.parameters() if id(parameter) not in own]
        groups = [(others, learning_rate), (anchor, ANCHOR_RATE * learning_rate)]
        return [group for group in groups if group[0]]

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

    def user_vectors(self, table: Tensor | Rows, histories_BL: Tensor) -> Tensor:
        """User vectors y [B, D] of histories over the rows of `table`."""
        inputs_BL, last_B = self.backbone.inference_views(histories_BL)
        states_BLD = self.states(table[inputs_BL.clamp(min=0)], inputs_BL)
        return states_BLD[torch.arange(len(last_B), device=last_B.device), last_B]


def _in_context() -> "InContext":
    # Imported here: other variants need not wait for scipy.
    from recg_core.models.in_context.scorer import InContext

    return InContext()


def create_model(spec: ModelSpec) -> SequentialRecommender:
    """Build the model; parameters are drawn from the global generator.

    Raises:
        UserError: on an unknown backbone or arguments that it refuses.
    """
    if spec.backbone not in BACKBONES:
        raise UserError(f"unknown backbone '{spec.backbone}'; valid ones are {sorted(BACKBONES)}")
    address = f"backbones.{spec.backbone}"
    backbone = build(BACKBONES[spec.backbone], spec.backbone_args, address)
    config, size, dim = spec.variant.items, spec.feature_dim, backbone.dim
    items: IdItems | TextItems
    if isinstance(config, IdItemsConfig):
        items = IdItems(num_items=size, dim=dim, std=backbone.id_std)
    else:
        items = TextItems(feature_dim=size, dim=dim, projections=config.projections)
    return SequentialRecommender(items, backbone, spec.variant)
