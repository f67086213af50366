"""Fitting the patterns of a source: k-means (Eq. 16) and W_f (Eq. 21).

Shapes: U users, K patterns, N items, M negatives, D model dim.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Holdout, Ragged, without_last
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.patterns import Patterns, attention_weights, normalized_entropy
from recg_core.models.ranking.full_rank import validation_ndcg
from recg_core.models.trained import TrainedModel, product_scorer
from recg_core.models.variant import PatternsConfig
from recg_core.training.adam import Adam
from recg_core.training.batch import mixed
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


@dataclass(frozen=True)
class Questions:
    """A domain of the source as the frozen model sees it."""

    table: Tensor  # item vectors [N + 1, D]
    users: Tensor  # user vectors [users, D] after all their training items
    before_last: Tensor  # user vectors [U, D] before the last training item
    target_U: Tensor  # that item, item_idx
    valid: Holdout
    valid_users: Tensor  # its user vectors


@torch.no_grad()
def fit_patterns(
    trained: TrainedModel,
    part: PatternsConfig,
    source: SourceDomains,
    config: FusionConfig,
    seed: int,
) -> tuple[Patterns, PatternSummary]:
    """Cluster the source's users and train W_f on the source, with the model frozen.

    The paper does not say when W_f is trained. Here it starts as [I 0], which leaves users as they
    are, learns to rank the last training item after the items before it, and is kept as it was in
    its best epoch on the source's validation items (the start counts as one).
    """
    questions = [_questions(trained, domain) for domain in source.domains]
    users = torch.cat([asked.users for asked in questions])
    centroids, counts = extract_patterns(users.cpu().numpy(), part.clusters, seed)
    dim = users.shape[1]
    start = torch.cat([torch.eye(dim), torch.zeros(dim, dim)], dim=1)
    patterns = Patterns(torch.from_numpy(centroids), start, part.temperature).to(users.device)

    def validate(candidate: Patterns) -> float:
        """The mean over domains."""
        found = []
        for asked in questions:
            scorer = product_scorer(asked.valid_users, asked.table, candidate)
            found.append(validation_ndcg(scorer, asked.valid, len(asked.table) - 1))
        return float(np.mean(found))

    loss = build_kind(LOSSES, trained.origin.spec.variant.loss, f"{trained.label}: loss")
    before = best = validate(patterns)
    kept, waited = patterns, 0
    for current in _fusion_epochs(patterns, questions, loss, config, seed):
        ndcg, waited = validate(current), waited + 1
        if ndcg > best:
            kept, best, waited = current, ndcg, 0
        if waited == config.patience:
            break
    weights = attention_weights(users, kept.centroids_KD, kept.temperature)
    return kept, PatternSummary(counts.tolist(), normalized_entropy(weights), before, best)


def _questions(trained: TrainedModel, domain: Domain) -> Questions:
    training, valid = domain.sequences.training(), domain.sequences.holdout("valid")
    table = trained.item_table(domain)
    users = trained.user_matrix(table, training.take(np.flatnonzero(training.lengths > 0)))
    history, target = _last_transitions(training)
    return Questions(
        table,
        users,
        trained.user_matrix(table, history),
        torch.from_numpy(target).long().to(table.device),
        valid,
        trained.user_matrix(table, valid.history),
    )


def _fusion_epochs(
    patterns: Patterns,
    questions: Sequence[Questions],
    loss: Loss,
    config: FusionConfig,
    seed: int,
) -> Iterator[Patterns]:
    """Train W_f to rank each user's target, and yield the patterns after every epoch."""
    device = patterns.fusion.device
    generator = torch.Generator(device).manual_seed(seed)
    fusion = torch.nn.Parameter(patterns.fusion.clone())
    current = dataclasses.replace(patterns, fusion=fusion)
    optimizer = Adam([([fusion], config.learning_rate)], fused=False)
    for epoch in range(config.max_epochs):
        batches = []
        for asked in questions:
            order = torch.randperm(len(asked.target_U), generator=generator, device=device)
            batches.append(order.split(config.batch_size))
        waiting = [iter(of_domain) for of_domain in batches]
        for number in mixed([len(of_domain) for of_domain in batches], [seed, epoch]):
            rows, asked = next(waiting[number]), questions[number]
            negatives_M = torch.randint(
                1, len(asked.table), (config.negatives,), generator=generator, device=device
            )
            target_B = asked.target_U[rows]
            with torch.enable_grad():
                users_BD = current.fuse(asked.before_last[rows])
                positives_B = (users_BD * asked.table[target_B]).sum(dim=1)
                negatives_BM = users_BD @ asked.table[negatives_M].T
                valid_BM = target_B[:, None] != negatives_M
                value = loss(positives_B, negatives_BM, valid_BM, len(asked.table) - 1)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        yield dataclasses.replace(patterns, fusion=fusion.detach().clone())


def _last_transitions(training: Ragged) -> tuple[Ragged, np.ndarray]:
    """Histories without their last item, and that item, of all users with at least two."""
    chosen = training.take(np.flatnonzero(training.lengths >= 2))
    return without_last(chosen), chosen.values[chosen.offsets[1:] - 1]
