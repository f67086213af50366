"""Sequence-level generalization: patterns of the source and their fusion (Eqs. 16-21).

Shapes: B users, K patterns, N items, M negatives, D model dim.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from recg_core.base.config import require_positive
from recg_core.base.errors import UserError
from recg_core.base.files import write_bytes
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.embeddings.domain import Domain
from recg_core.models.model import (
    SequentialRecommender,
    VariantConfig,
    dot_scorer,
    model_features,
    user_matrix,
)
from recg_core.ranking.full_rank import validation_ndcg
from recg_core.training.losses import RECOMMENDATION_LOSSES, Recommendation


@dataclass(frozen=True)
class PatternConfig:
    """The `patterns` section of the params: how W_f is trained."""

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int  # epochs without a better validation NDCG@10
    negatives: int  # items drawn for a batch

    def __post_init__(self) -> None:
        require_positive(self)


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


@dataclass(frozen=True)
class PatternSummary:
    """What a seed's patterns look like on the source, for `patterns.json`."""

    users_per_pattern: list[int]
    attention_entropy: float  # mean over users, divided by log K: 1 is a constant mixture
    valid_ndcg_without: float  # NDCG@10 on the source's validation items, users as they are
    valid_ndcg: float  # the same with fused users


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


def extract_patterns(users: np.ndarray, num_patterns: int, seed: int) -> tuple[np.ndarray, ...]:
    """k-means over user vectors (Eq. 16).

    Args:
        users: float32 [U, D].

    Returns:
        centroids float32 [K, D], largest cluster first, and the users of each, int64 [K].

    Raises:
        UserError: when there are fewer distinct users than patterns.
    """
    # Imported here, since it takes a second that evaluation need not spend.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    distinct = len(np.unique(users, axis=0))
    if distinct < num_patterns:
        raise UserError(
            f"{num_patterns} patterns were asked for, but the source has only {distinct} distinct "
            "user vectors; lower clusters in the variant"
        )
    # One thread: the sums of several depend on their timing.
    with threadpool_limits(limits=1):
        kmeans = KMeans(num_patterns, n_init=1, random_state=seed).fit(users)
    counts = np.bincount(kmeans.labels_, minlength=num_patterns)
    order = np.argsort(-counts, kind="stable")
    return kmeans.cluster_centers_[order].astype(np.float32), counts[order]


@torch.no_grad()
def fit_patterns(
    model: SequentialRecommender,
    source: Domain,
    variant: VariantConfig,
    config: PatternConfig,
    seed: int,
) -> tuple[Patterns, PatternSummary]:
    """Cluster the source's users and train W_f on the source, with the model frozen.

    The paper does not say when W_f is trained. Here it starts as [I 0], which leaves users as they
    are, learns to rank the last training item after the items before it, and is kept as it was in
    its best epoch on the source's validation items (the start counts as one).
    """
    training = source.sequences.training()
    table = model.item_table(model_features(variant, source.text))
    users = user_matrix(model, table, training.take(np.flatnonzero(training.lengths > 0)))
    centroids, counts = extract_patterns(users.numpy(), variant.clusters, seed)
    dim = users.shape[1]
    start = torch.cat([torch.eye(dim), torch.zeros(dim, dim)], dim=1)
    patterns = Patterns(torch.from_numpy(centroids), start, variant.pattern_temperature)

    history, target = _last_transitions(training)
    valid = source.sequences.holdout("valid")
    fitter = FusionFitter(
        table=table,
        users=user_matrix(model, table, history),
        target=torch.from_numpy(target).long(),
        valid=valid,
        valid_users=user_matrix(model, table, valid.history),
        loss=variant.loss,
        config=config,
        seed=seed,
    )
    fused, before, after = fitter.fit(patterns)
    weights = attention_weights(users, fused.centroids_KD, fused.temperature)
    return fused, PatternSummary(counts.tolist(), normalized_entropy(weights), before, after)


@dataclass(frozen=True)
class FusionFitter:
    """Trains W_f over user vectors that were computed once."""

    table: Tensor  # item vectors [N + 1, D]
    users: Tensor  # [U, D], before the last training item
    target: Tensor  # [U], item_idx of the last training item
    valid: Holdout
    valid_users: Tensor
    loss: Recommendation
    config: PatternConfig
    seed: int

    def fit(self, patterns: Patterns) -> tuple[Patterns, float, float]:
        """The best patterns on validation, and NDCG@10 there before and after."""
        generator = torch.Generator().manual_seed(self.seed)
        fusion = patterns.fusion.clone().requires_grad_()
        current = dataclasses.replace(patterns, fusion=fusion)
        optimizer = torch.optim.Adam([fusion], lr=self.config.learning_rate)
        before = best = self._validate(current)
        kept, waited = patterns, 0
        for _ in range(self.config.max_epochs):
            self._epoch(current, optimizer, generator)
            ndcg, waited = self._validate(current), waited + 1
            if ndcg > best:
                kept = dataclasses.replace(patterns, fusion=fusion.detach().clone())
                best, waited = ndcg, 0
            if waited == self.config.patience:
                break
        return kept, before, best

    @torch.enable_grad()
    def _epoch(
        self, patterns: Patterns, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        order = torch.randperm(len(self.users), generator=generator)
        for rows in order.split(self.config.batch_size):
            negatives_M = torch.randint(
                1, len(self.table), (self.config.negatives,), generator=generator
            )
            users_BD = patterns.fuse(self.users[rows])
            target_B = self.target[rows]
            positives_B = (users_BD * self.table[target_B]).sum(dim=1)
            negatives_BM = users_BD @ self.table[negatives_M].T
            valid_BM = target_B[:, None] != negatives_M
            optimizer.zero_grad()
            RECOMMENDATION_LOSSES[self.loss](positives_B, negatives_BM, valid_BM).backward()
            optimizer.step()

    def _validate(self, patterns: Patterns) -> float:
        with torch.no_grad():
            scorer = dot_scorer(patterns.fuse(self.valid_users), self.table)
            return validation_ndcg(scorer, self.valid, len(self.table) - 1)


def _last_transitions(training: Ragged) -> tuple[Ragged, np.ndarray]:
    """Histories without their last item, and that item, of all users with at least two."""
    chosen = training.take(np.flatnonzero(training.lengths >= 2))
    last = chosen.offsets[1:] - 1
    offsets = chosen.offsets - np.arange(len(chosen.offsets))
    return Ragged(np.delete(chosen.values, last), offsets), chosen.values[last]


def patterns_path(folder: Path, seed: int) -> Path:
    """Where a seed's patterns lie in a patterns folder."""
    return folder / f"seed-{seed}.safetensors"


def save_patterns(patterns: Patterns, path: Path) -> None:
    """Write the centroids and W_f atomically."""
    tensors = {"centroids": patterns.centroids_KD, "fusion": patterns.fusion}
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def load_patterns(path: Path, temperature: float, dim: int) -> Patterns:
    """Read centroids and W_f.

    Raises:
        UserError: when the file is missing or was made for a model of another dimension.
    """
    try:
        tensors: dict[str, Any] = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: not readable ({error}); run the cluster stage again") from error
    patterns = Patterns(tensors["centroids"], tensors["fusion"], temperature)
    if patterns.fusion.shape != (dim, 2 * dim) or patterns.centroids_KD.shape[1] != dim:
        raise UserError(
            f"{path}: made for user vectors of {patterns.centroids_KD.shape[1]} dimensions, the "
            f"model has {dim}; run the cluster stage again"
        )
    return patterns
