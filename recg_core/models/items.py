"""Item vectors: learned by id, or projected from text embeddings.

Shapes: N items of a domain, U distinct items of a batch, H dimension of the text embeddings,
D model dim.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recg_core.models.variant import IdItemsConfig, TextItemsConfig

ItemsConfig = IdItemsConfig | TextItemsConfig


class IdItems(nn.Module):
    """A learned vector for each item of the source domain."""

    def __init__(self, *, num_items: int, dim: int, std: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(num_items, dim).normal_(std=std))

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


def item_features(
    config: ItemsConfig, text: np.ndarray, text_mean: np.ndarray | None = None
) -> Tensor:
    """What a model's items read, one row an item of a domain: embeddings [N, H], or ids [N].

    Args:
        text_mean: [H], subtracted where the items are centred; None: the mean of `text`.
    """
    if isinstance(config, IdItemsConfig):
        return torch.arange(1, len(text) + 1)
    features_NH = torch.from_numpy(text)
    return centered(features_NH, text_mean) if config.center else features_NH


def centered(text_NH: Tensor, text_mean: np.ndarray | None) -> Tensor:
    """Embeddings without a domain's mean, which is that of `text_NH` unless it is given."""
    if text_mean is None:
        return text_NH - text_NH.mean(dim=0)
    return text_NH - torch.from_numpy(text_mean).to(text_NH.device)
