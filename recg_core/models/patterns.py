"""The sequential patterns of a source and how they enter a user vector (Eqs. 17-21).

Shapes: B users, K patterns, D model dim.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json
from recg_core.models.card import PATTERNS_FILE
from recg_core.models.tensors import load_tensors, save_tensors, seed_path
from recg_core.models.variant import PatternsConfig


@dataclass(frozen=True)
class Patterns:
    """The sequential patterns of a source domain and how they enter a user vector."""

    centroids_KD: Tensor
    fusion: Tensor  # W_f, [D, 2D]
    temperature: float

    def to(self, device: torch.device) -> "Patterns":
        """The same on another device."""
        return Patterns(self.centroids_KD.to(device), self.fusion.to(device), self.temperature)

    def fuse(self, users_BD: Tensor) -> Tensor:
        """g = W_f [y; attended patterns], Eqs. 20-21."""
        weights_BK = attention_weights(users_BD, self.centroids_KD, self.temperature)
        return torch.cat([users_BD, weights_BK @ self.centroids_KD], dim=1) @ self.fusion.T


def attention_weights(users_BD: Tensor, patterns_KD: Tensor, temperature: float) -> Tensor:
    """Softmax over patterns of the cosine to the user, [B, K].

    Eqs. 17-18, which have no temperature (1.0).
    """
    cosine_BK = F.normalize(users_BD, dim=1) @ F.normalize(patterns_KD, dim=1).T
    return F.softmax(cosine_BK / temperature, dim=1)


def normalized_entropy(weights_BK: Tensor) -> float:
    """Mean entropy of the rows divided by log K; 1.0 for a single pattern."""
    if weights_BK.shape[1] == 1:
        return 1.0
    entropy_B = torch.special.entr(weights_BK).sum(dim=1)
    return float(entropy_B.mean() / np.log(weights_BK.shape[1]))


def pattern_variance_share(patterns: Patterns, users_BD: Tensor) -> float:
    """The share of the variance of fused user vectors that the pattern vector adds.

    With W_f = [U V], a fused vector is U y + V s. The share is var(V s) / (var(U y) + var(V s)),
    each the sum over dimensions, their covariance left out: 0 where V is 0 or all users attend the
    same mixture, 1 where the user's own vector no longer counts.
    """
    dim = users_BD.shape[1]
    weights_BK = attention_weights(users_BD, patterns.centroids_KD, patterns.temperature)
    own_BD = users_BD @ patterns.fusion[:, :dim].T
    added_BD = weights_BK @ patterns.centroids_KD @ patterns.fusion[:, dim:].T
    own, added = (float(part.var(dim=0, unbiased=False).sum()) for part in (own_BD, added_BD))
    return added / (own + added) if added else 0.0


def save_patterns(patterns: Patterns, folder: Path, seed: int) -> None:
    """Write a seed's centroids and W_f atomically."""
    tensors = {"centroids": patterns.centroids_KD, "fusion": patterns.fusion}
    save_tensors(tensors, seed_path(folder, seed))


def load_patterns(
    folder: Path,
    seed: int,
    config: PatternsConfig | None,
    dim: int,
    remedy: str = "run the cluster stage",
    *,
    cached: bool = True,
) -> Patterns | None:
    """A seed's patterns; None where the variant has none.

    Args:
        config: of the model's variant.
        dim: D of the model.
        remedy: what makes the folder anew; see `read_sealed` for `cached`.

    Raises:
        UserError: when the folder or a file is missing, or holds the patterns of another variant
            or model.
    """
    found = read_sealed_json(folder / PATTERNS_FILE, remedy, cached=cached)["clusters"]
    expected = 0 if config is None else config.clusters
    if found != expected:
        raise UserError(
            f"{folder}: holds {found} patterns, the model's variant has {expected}; {remedy}"
        )
    if config is None:
        return None
    path = seed_path(folder, seed)
    tensors = load_tensors(path, remedy, cached=cached)
    centroids_KD, fusion = tensors["centroids"], tensors["fusion"]
    if fusion.shape != (dim, 2 * dim) or centroids_KD.shape[1] != dim:
        raise UserError(
            f"{path}: made for user vectors of {centroids_KD.shape[1]} dimensions, the model has "
            f"{dim}; {remedy}"
        )
    return Patterns(centroids_KD, fusion, config.temperature)
