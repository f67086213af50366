"""Evaluating a trained model on its source and, zero-shot, on every other domain."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recg_core.base.errors import UserError
from recg_core.base.files import read_json, write_json
from recg_core.domains.sequences import Holdout
from recg_core.embeddings.domain import Domain
from recg_core.models.anchor import Anchor, anchor_items, observed_counts
from recg_core.models.model import (
    ModelCard,
    ModelSpec,
    SequentialRecommender,
    VariantConfig,
    dot_scorer,
    load_model,
    model_features,
    read_card,
    sum_scorer,
    user_matrix,
)
from recg_core.models.patterns import (
    PatternConfig,
    Patterns,
    fit_patterns,
    load_patterns,
    patterns_path,
    save_patterns,
)
from recg_core.ranking.full_rank import (
    Ranks,
    Saw,
    ScoreBatch,
    cell_content,
    overlap_share,
    rank_holdout,
    ranks_frame,
    validation_ndcg,
    write_cell,
)

PATTERNS_FILE = "patterns.json"
VALID_METRIC = "valid_ndcg@10"


def cluster_model(
    model: Path,
    source: Domain,
    config: PatternConfig,
    folder: Path,
    validation: Path,
    *,
    name: str,
) -> None:
    """Extract the source's patterns and train W_f for every seed; `patterns.json` comes last.

    A variant without patterns writes `patterns.json` alone into `folder`.

    Args:
        validation: JSON for NDCG@10 on the source's validation items, of the model as it will be
            evaluated. Settings are chosen by it, since it has seen no test item and no target.
        name: what that JSON calls the model, `<backbone>-<variant>`.

    Raises:
        UserError: when the model does not fit the source's embeddings, or clustering fails.
    """
    card = read_card(model)
    check_fit(card, source, model)
    variant = card.spec.variant
    summaries: dict[str, Any] = {}
    ndcg: list[float] = []
    for seed in card.seeds:
        recommender = load_model(model, seed, card.spec)
        if not variant.clusters:
            ndcg.append(_source_ndcg(recommender, source, variant))
            continue
        patterns, summary = fit_patterns(recommender, source, variant, config, seed)
        save_patterns(patterns, patterns_path(folder, seed))
        summaries[f"seed-{seed}"] = dataclasses.asdict(summary)
        ndcg.append(summary.valid_ndcg)
    content: dict[str, Any] = {"model": name, "source": source.name, "num_seeds": len(ndcg)}
    content[VALID_METRIC] = float(np.mean(ndcg))
    if len(ndcg) > 1:
        content["seed_std"] = {VALID_METRIC: float(np.std(ndcg, ddof=1))}
    write_json(validation, content)
    write_json(folder / PATTERNS_FILE, {"clusters": variant.clusters, "seeds": summaries})


def evaluate_model(
    model: Path,
    patterns: Path,
    source: Domain,
    targets: Sequence[Domain],
    ranks_folder: Path,
    metrics_folder: Path,
    *,
    name: str,
) -> None:
    """Rank every target's test items with every seed and write one cell a target.

    A model of item ids knows no other domain's items and is evaluated on its source alone.

    Args:
        name: what the cells call the model, `<backbone>-<variant>`.

    Raises:
        UserError: when the model or its patterns do not fit the embeddings or each other.
    """
    card = read_card(model)
    if card.spec.variant.items == "id":
        targets = [source]
    for target in targets:
        check_fit(card, target, model)
    recommenders = {seed: load_model(model, seed, card.spec) for seed in card.seeds}
    fusions = {
        seed: load_fusion(patterns, seed, card.spec, recommenders[seed]) for seed in card.seeds
    }
    for target in targets:
        ranks = {
            seed: rank_target(
                recommenders[seed],
                fusions[seed],
                card.spec,
                target,
                in_domain=target.name == source.name,
            )
            for seed in card.seeds
        }
        frame = ranks_frame(ranks, target.sequences.holdout("test").users)
        content = cell_content(
            frame,
            model=name,
            source=source.name,
            target=target.name,
            saw=certificate(card, source, target),
        )
        file_name = f"{source.name}_to_{target.name}"
        write_cell(
            frame,
            content,
            ranks_folder / f"{file_name}.parquet",
            metrics_folder / f"{file_name}.json",
        )


@torch.no_grad()
def rank_target(
    model: SequentialRecommender,
    patterns: Patterns | None,
    spec: ModelSpec,
    target: Domain,
    *,
    in_domain: bool,
) -> Ranks:
    """Exact full-catalogue ranks of a target's test items by one trained model.

    A model with an anchor ranks another domain by the anchor alone: what the rest of it knows is
    about the products of its source.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    holdout = target.sequences.holdout("test")
    label = f"{spec.backbone} on {target.name}"
    scorers = [_anchor_scorer(model.anchor, target, holdout, device)] if model.anchor else []
    if not scorers or in_domain:
        fusion = patterns.to(device) if patterns is not None else None
        scorers.append(_product_scorer(model, fusion, spec.variant, target, holdout, device))
    return rank_holdout(sum_scorer(*scorers), holdout, target.num_items, label=label)


def _anchor_scorer(
    anchor: Anchor, domain: Domain, holdout: Holdout, device: torch.device
) -> ScoreBatch:
    items_NH = anchor_items(torch.from_numpy(domain.text).to(device))
    counts_N2 = observed_counts(holdout.history, domain.num_items).to(device)
    return anchor.scorer(holdout.history, items_NH, counts_N2)


def _product_scorer(
    model: SequentialRecommender,
    patterns: Patterns | None,
    variant: VariantConfig,
    domain: Domain,
    holdout: Holdout,
    device: torch.device,
) -> ScoreBatch:
    table = model.item_table(model_features(variant, domain.text).to(device))
    users = user_matrix(model, table, holdout.history)
    return dot_scorer(patterns.fuse(users) if patterns is not None else users, table)


def certificate(card: ModelCard, source: Domain, target: Domain) -> Saw:
    """What the model saw of the target before it was asked to rank there."""
    variant = card.spec.variant
    in_domain = source.name == target.name
    counts = variant.anchor == "similarity_counts"
    text_domains: set[str] = set()
    if variant.items == "text":
        text_domains = {source.name, *card.pool_domains, *source.encoder_domains}
    test_users = target.sequences.holdout("test").users
    return Saw(
        zero_shot=not (in_domain or counts),
        target_text_seen=target.name in text_domains
        or variant.inter == "centered"
        or variant.anchor != "off",  # both subtract the mean of the target's texts
        target_interactions_used=in_domain or counts,
        user_overlap=overlap_share(
            (target.sequences.user_ids[user] for user in test_users), source.sequences.user_ids
        ),
        item_overlap=overlap_share(target.item_ids, source.item_ids),
    )


@torch.no_grad()
def _source_ndcg(model: SequentialRecommender, source: Domain, variant: VariantConfig) -> float:
    """NDCG@10 on the source's validation items, of a model without patterns."""
    valid, cpu = source.sequences.holdout("valid"), torch.device("cpu")
    scorers = [_anchor_scorer(model.anchor, source, valid, cpu)] if model.anchor else []
    scorers.append(_product_scorer(model, None, variant, source, valid, cpu))
    return validation_ndcg(sum_scorer(*scorers), valid, source.num_items)


def load_fusion(
    folder: Path, seed: int, spec: ModelSpec, model: SequentialRecommender
) -> Patterns | None:
    """A seed's patterns; none where the variant has none.

    Raises:
        UserError: when the folder holds the patterns of another variant or model.
    """
    clusters = read_json(folder / PATTERNS_FILE)["clusters"]
    if clusters != spec.variant.clusters:
        raise UserError(
            f"{folder}: holds {clusters} patterns, the model's variant has "
            f"{spec.variant.clusters}; run the cluster stage again"
        )
    if not clusters:
        return None
    temperature = spec.variant.pattern_temperature
    return load_patterns(patterns_path(folder, seed), temperature, model.backbone.dim)


def check_fit(card: ModelCard, domain: Domain, model: Path) -> None:
    """Refuse embeddings that are not of the encoder that the model was trained with."""
    if card.spec.variant.items == "id":
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
