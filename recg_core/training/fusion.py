"""Fitting the patterns of a source: k-means (Eq. 16) and W_f (Eq. 21).

Shapes: U users, K patterns, N items, M negatives, D model dim.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.patterns import Patterns, attention_weights, normalized_entropy
from recg_core.models.ranking.full_rank import validation_ndcg
from recg_core.models.trained import TrainedModel, product_scorer
from recg_core.models.variant import PatternsConfig
from recg_core.training.adam import Adam
from recg_core.training.config import FusionConfig
from recg_core.training.losses import LOSSES, Loss


@dataclass(frozen=True)
class PatternSummary:
    """What a seed's patterns look like on the source, for `patterns.json`."""

    users_per_pattern: list[int]
    attention_entropy: float  # mean over users, divided by log K: 1 is a constant mixture
    valid_ndcg_without: float  # NDCG@10 on the source's validation items, users as they are
    valid_ndcg: float  # the same with fused users


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
    trained: TrainedModel, part: PatternsConfig, source: Domain, config: FusionConfig, seed: int
) -> tuple[Patterns, PatternSummary]:
    """Cluster the source's users and train W_f on the source, with the model frozen.

    The paper does not say when W_f is trained. Here it starts as [I 0], which leaves users as they
    are, learns to rank the last training item after the items before it, and is kept as it was in
    its best epoch on the source's validation items (the start counts as one).
    """
    training = source.sequences.training()
    table = trained.item_table(source)
    device = table.device
    users = trained.user_matrix(table, training.take(np.flatnonzero(training.lengths > 0)))
    centroids, counts = extract_patterns(users.cpu().numpy(), part.clusters, seed)
    dim = users.shape[1]
    start = torch.cat([torch.eye(dim), torch.zeros(dim, dim)], dim=1)
    patterns = Patterns(torch.from_numpy(centroids), start, part.temperature).to(device)

    history, target = _last_transitions(training)
    valid = source.sequences.holdout("valid")
    fitter = FusionFitter(
        table=table,
        users=trained.user_matrix(table, history),
        target=torch.from_numpy(target).long().to(device),
        valid=valid,
        valid_users=trained.user_matrix(table, valid.history),
        loss=build_kind(LOSSES, trained.origin.spec.variant.loss, f"{trained.label}: loss"),
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
    loss: Loss
    config: FusionConfig
    seed: int

    def fit(self, patterns: Patterns) -> tuple[Patterns, float, float]:
        """The best patterns on validation, and NDCG@10 there before and after."""
        generator = torch.Generator(self.table.device).manual_seed(self.seed)
        fusion = torch.nn.Parameter(patterns.fusion.clone())
        current = dataclasses.replace(patterns, fusion=fusion)
        optimizer = Adam([([fusion], self.config.learning_rate)], fused=False)
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
    def _epoch(self, patterns: Patterns, optimizer: Adam, generator: torch.Generator) -> None:
        device = self.table.device
        order = torch.randperm(len(self.users), generator=generator, device=device)
        for rows in order.split(self.config.batch_size):
            negatives_M = torch.randint(
                1, len(self.table), (self.config.negatives,), generator=generator, device=device
            )
            users_BD = patterns.fuse(self.users[rows])
            target_B = self.target[rows]
            positives_B = (users_BD * self.table[target_B]).sum(dim=1)
            negatives_BM = users_BD @ self.table[negatives_M].T
            valid_BM = target_B[:, None] != negatives_M
            optimizer.zero_grad()
            self.loss(positives_B, negatives_BM, valid_BM, len(self.table) - 1).backward()
            optimizer.step()

    def _validate(self, patterns: Patterns) -> float:
        with torch.no_grad():
            scorer = product_scorer(self.valid_users, self.table, patterns)
            return validation_ndcg(scorer, self.valid, len(self.table) - 1)


def _last_transitions(training: Ragged) -> tuple[Ragged, np.ndarray]:
    """Histories without their last item, and that item, of all users with at least two."""
    chosen = training.take(np.flatnonzero(training.lengths >= 2))
    last = chosen.offsets[1:] - 1
    offsets = chosen.offsets - np.arange(len(chosen.offsets))
    return Ragged(np.delete(chosen.values, last), offsets), chosen.values[last]
