"""Evaluating a trained model on its source and, zero-shot, on every other domain."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from recg_core.anchor import anchor_items, observed_counts
from recg_core.domain import Domain
from recg_core.errors import UserError
from recg_core.evaluation import (
    Ranks,
    Saw,
    ScoreBatch,
    cell_content,
    overlap_share,
    rank_holdout,
    ranks_frame,
    write_cell,
)
from recg_core.files import read_json, write_json
from recg_core.model import (
    ModelCard,
    ModelSpec,
    SequentialRecommender,
    dot_scorer,
    load_model,
    model_features,
    read_card,
    sum_scorer,
    user_matrix,
)
from recg_core.patterns import (
    PatternConfig,
    Patterns,
    fit_patterns,
    load_patterns,
    patterns_path,
    save_patterns,
)

PATTERNS_FILE = "patterns.json"


def cluster_model(model: Path, source: Domain, config: PatternConfig, folder: Path) -> None:
    """Extract the source's patterns and train W_f for every seed; `patterns.json` comes last.

    A variant without patterns writes `patterns.json` alone.

    Raises:
        UserError: when the model does not fit the source's embeddings, or clustering fails.
    """
    card = read_card(model)
    _check_fit(card, source, model)
    variant = card.spec.variant
    summaries: dict[str, Any] = {}
    for seed in card.seeds if variant.clusters else []:
        recommender = load_model(model, seed, card.spec)
        patterns, summary = fit_patterns(recommender, source, variant, config, seed)
        save_patterns(patterns, patterns_path(folder, seed))
        summaries[f"seed-{seed}"] = dataclasses.asdict(summary)
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
        _check_fit(card, target, model)
    recommenders = {seed: load_model(model, seed, card.spec) for seed in card.seeds}
    fusions = {seed: _fusion(patterns, seed, card.spec, recommenders[seed]) for seed in card.seeds}
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
    scorers: list[ScoreBatch] = []
    if model.anchor is not None:
        items_NH = anchor_items(torch.from_numpy(target.text).to(device))
        counts_N2 = observed_counts(holdout.history, target.num_items).to(device)
        scorers.append(model.anchor.scorer(holdout.history, items_NH, counts_N2))
        if not in_domain:
            return rank_holdout(scorers[0], holdout, target.num_items, label=label)
    table = model.item_table(model_features(spec.variant, target.text).to(device))
    users = user_matrix(model, table, holdout.history)
    if patterns is not None:
        users = patterns.to(device).fuse(users)
    scorers.append(dot_scorer(users, table))
    return rank_holdout(sum_scorer(*scorers), holdout, target.num_items, label=label)


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


def _fusion(
    folder: Path, seed: int, spec: ModelSpec, model: SequentialRecommender
) -> Patterns | None:
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


def _check_fit(card: ModelCard, domain: Domain, model: Path) -> None:
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
