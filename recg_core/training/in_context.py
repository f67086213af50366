"""Learning how to weigh a domain's evidence: a log-linear model on the source's own next items.

The question is that of inference: given what others and the user did before, what came next? It is
asked of contexts of many sizes, so that domains with few histories are known as well.

Shapes: B users, M candidates, N items, E kinds of evidence, G properties of users.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.domains.domain import Domain, training_rows
from recg_core.domains.sequences import Holdout
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.card import ModelSpec, Origin
from recg_core.models.in_context.context import (
    EVIDENCE,
    Context,
    Reader,
    like_texts,
    read_context,
    text_likeness,
)
from recg_core.models.in_context.examples import NEVER, Examples, asked_for_last
from recg_core.models.in_context.scorer import InContext
from recg_core.models.in_context.trial import examples_of
from recg_core.models.near import near_items
from recg_core.models.ranking.full_rank import validation_ndcg
from recg_core.models.recommender import SequentialRecommender, create_model
from recg_core.models.rows import places_of
from recg_core.models.trained import ItemVectors, TrainedModel, product_scorer
from recg_core.training.config import TrainConfig

log = logging.getLogger(__name__)

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.0)  # of the source's histories that a context has
EPOCHS = 20
BATCH = 64
RATE = 0.005
_AT_ONCE = 64  # users whose evidence on all items is in memory
_SCORES_KEPT = 1 << 28  # of held-out items and all others, of each kind: 1 GiB
_NEWTON_STEPS = 12
_LONGEST_STEP = 0.3


def without_context(spec: ModelSpec) -> ModelSpec:
    """The model that is trained first: the same without what reads contexts."""
    return replace(spec, variant=replace(spec.variant, in_context=None))


def with_context(
    trained: SequentialRecommender,
    spec: ModelSpec,
    source: SourceDomains,
    config: TrainConfig,
    seed: int,
    weights: Mapping[str, np.ndarray],
) -> tuple[SequentialRecommender, float]:
    """Add what reads contexts to a trained model: its weights, and learn what the model counts.

    Args:
        weights: what `in_context_weights` gives.

    Returns:
        The model, on the CPU and in evaluation mode, and its NDCG@10 on the validation items, the
        mean over the domains of the source.
    """
    whole = create_model(spec)
    whole.load_state_dict({**whole.state_dict(), **trained.state_dict()})
    origin = Origin(spec, source.name, source.encoder_fingerprint)
    model = TrainedModel(whole.eval(), origin, f"{spec.backbone} {source.name} seed {seed}")
    assert whole.in_context is not None
    whole.in_context.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    held_out = [_held_out(model, domain) for domain in source.domains]
    _learn_state_weight(model, held_out, config.valid_users)
    found = []
    for asked in held_out:
        scorer = model.scorer_of(asked.vectors, asked.context, asked.holdout.history)
        num_items = len(asked.context.items)
        found.append(validation_ndcg(scorer, asked.holdout, num_items, label=model.label))
    return whole, float(np.mean(found))


def in_context_weights(source: SourceDomains, users: int, seed: int) -> dict[str, np.ndarray]:
    """`learn_in_context` from the start: the same for all backbones."""
    model = InContext()
    learn_in_context(model, source, users, seed)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


class HeldOut(NamedTuple):
    """The validation items of a domain, and what a model reads of it."""

    holdout: Holdout
    vectors: ItemVectors
    context: Context


def _held_out(model: TrainedModel, domain: Domain) -> HeldOut:
    vectors = model.item_vectors(domain)
    sequences = domain.sequences
    context = model.evidence(
        vectors, sequences.observed("valid"), leaves_one_out=sequences.leaves_one_out
    )
    assert isinstance(context, Context)
    return HeldOut(sequences.holdout("valid"), vectors, context)


@torch.no_grad()
def _learn_state_weight(model: TrainedModel, held_out: Sequence[HeldOut], num_users: int) -> None:
    """The weight w >= 0 that minimises -log softmax(context score + w model score) of held-out
    items of up to `num_users` of each domain: a convex function of one number, by Newton's method.

    They are validation items, since a model's scores of its own training items say too much. In a
    large catalogue there are fewer users, so that memory stays bounded.
    """
    in_context = model.recommender.in_context
    assert in_context is not None
    parts = [part for asked in held_out for part in _scores_of_parts(model, asked, num_users)]
    weight = 0.0
    for _ in range(_NEWTON_STEPS):
        slope = curvature = 0.0
        for context_BN, model_BN, model_B in parts:
            share_BN = (context_BN + weight * model_BN).softmax(dim=1)
            mean_B = (share_BN * model_BN).sum(dim=1)
            slope += float((mean_B - model_B).sum())
            curvature += float(((share_BN * model_BN.square()).sum(dim=1) - mean_B.square()).sum())
        step = min(max(-slope / max(curvature, 1e-12), -_LONGEST_STEP), _LONGEST_STEP)
        weight = max(weight + step, 0.0)
    in_context.state_weight.fill_(weight)


def _scores_of_parts(
    model: TrainedModel, asked: HeldOut, num_users: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Scores of all items by context and by model, and of held-out items by model, of some users
    at a time; items of the history stand for nothing."""
    in_context, table = model.recommender.in_context, asked.vectors.table
    assert in_context is not None
    assert table is not None
    holdout = asked.holdout.sample(min(num_users, max(1, _SCORES_KEPT // len(asked.context.items))))
    of_context = in_context.scorer(asked.context, holdout.history)
    of_model = product_scorer(model.user_matrix(table, holdout.history), table, None)
    every = np.arange(len(asked.context.items))
    for start in range(0, len(holdout.users), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(holdout.users)))
        history = holdout.history.take(rows)
        context_BN, model_BN = of_context(rows), of_model(rows)
        context_BN[places_of(history, every, context_BN.device)] = NEVER
        target_B1 = torch.from_numpy(holdout.target[rows].astype(np.int64) - 1)[:, None]
        yield context_BN, model_BN, model_BN.gather(1, target_B1)[:, 0]


def learn_in_context(model: InContext, source: SourceDomains, users: int, seed: int) -> None:
    """Learn the weights on the training sequences of the source, all its domains alike.

    Minimises -log softmax of the next item among all items, estimated from hard and from uniformly
    drawn candidates, each of which stands for as many as were not drawn (importance sampling).

    Args:
        model: starts as it is, and ends with the learned weights.
        users: whose next item is asked for, in each context of each domain.
        seed: of users, candidates and order.
    """
    random = np.random.default_rng(seed)
    of_domains = [_of_contexts(model, domain, users, random) for domain in source.domains]
    found = _together([examples for parts in of_domains for examples in parts])
    model.least.copy_(found.properties_BG.amin(dim=0))
    model.most.copy_(found.properties_BG.amax(dim=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * math.ceil(len(found.log_weight_BM) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.from_numpy(random.permutation(len(found.log_weight_BM)))
        for rows in order.split(BATCH):
            batch = Examples(*(tensor[rows] for tensor in found))
            scores_BM = model(batch.evidence_BME, batch.properties_BG) + batch.log_weight_BM
            loss = -scores_BM.log_softmax(dim=1)[:, 0].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    log.info(
        "%s, seed %d: weights of %s",
        source.name,
        seed,
        ", ".join(f"{n} {w:.2f}" for n, w in zip(EVIDENCE, model.weight.tolist(), strict=True)),
    )


def _of_contexts(
    model: InContext, domain: Domain, users: int, random: np.random.Generator
) -> list[Examples]:
    """Examples of a domain in contexts that have each of the `SHARES` of its histories."""
    items = near_items(domain.text, None, model.weight.device)
    training, _ = training_rows(domain)
    asked = asked_for_last(training)
    alike, likeness = like_texts(items), text_likeness(items, asked.history)
    parts = []
    for share in SHARES:
        observed = asked.history.take(np.flatnonzero(random.random(len(asked.history)) < share))
        reader = Reader(read_context(items, observed, alike), asked.history, likeness)
        parts.append(examples_of(reader, asked, len(items), users, random))
    return parts


def _together(parts: Sequence[Examples]) -> Examples:
    """All examples; those of a domain of few items are filled up with what stands for nothing."""
    most = max(part.log_weight_BM.shape[1] for part in parts)
    filled = []
    for evidence_BME, properties_BG, log_weight_BM in parts:
        missing = most - log_weight_BM.shape[1]
        evidence = F.pad(evidence_BME, (0, 0, 0, missing))
        filled.append(
            Examples(evidence, properties_BG, F.pad(log_weight_BM, (0, missing), value=NEVER))
        )
    return Examples(*(torch.cat(tensors) for tensors in zip(*filled, strict=True)))
