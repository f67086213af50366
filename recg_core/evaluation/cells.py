"""Evaluating a trained model on its source and, zero-shot, on every other domain."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from recg_core.domains.domain import Domain
from recg_core.evaluation.certificate import Saw, certify, overlap_share, write_cell
from recg_core.models.card import ModelCard, model_names, read_card
from recg_core.models.ranking.full_rank import Ranks, rank_holdout, stack_seeds
from recg_core.models.trained import TrainedModel, load_seeds
from recg_core.models.variant import IdItemsConfig


def evaluate_models(
    models: Path,
    patterns: Path,
    sources: Sequence[str],
    domains: Mapping[str, Domain],
    folder: Path,
    *,
    variant: str,
    device: str | None = None,
) -> None:
    """Evaluate the models of a variant: `<source>/<backbone>` in `models` and in `patterns`.

    Args:
        folder: for the cells of each backbone, in a folder of its name.
        variant, device: as in `evaluate_model`.

    Raises:
        UserError: when a source has no model, and as `evaluate_model` does.
    """
    targets = list(domains.values())
    for source in sources:
        for name in model_names(models / source):
            evaluate_model(
                models / source / name,
                patterns / source / name,
                domains[source],
                targets,
                folder / name,
                variant=variant,
                device=device,
            )


def evaluate_model(
    model: Path,
    patterns: Path,
    source: Domain,
    targets: Sequence[Domain],
    folder: Path,
    *,
    variant: str,
    device: str | None = None,
) -> None:
    """Rank every target's test items with every seed and write one cell a target.

    A model of item ids knows no other domain's items and is evaluated on its source alone.

    Args:
        folder: for the cells, `<source>_to_<target>`.
        variant: the name of the model's row, for the certificates.
        device: of torch; None: the GPU where there is one.

    Raises:
        UserError: when the model or its patterns do not fit the embeddings or each other.
    """
    card = read_card(model)
    transfers = not isinstance(card.spec.variant.items, IdItemsConfig)
    if not transfers:
        targets = [source]
    seeds = load_seeds(model, patterns, targets, device)
    for target in targets:
        ranks = {seed: rank_target(trained, target) for seed, trained in seeds.items()}
        stacked = stack_seeds(ranks, target.sequences.holdout("test").users)
        certificate = certify(
            stacked,
            saw_of_model(card, source, target),
            backbone=card.spec.backbone,
            variant=variant,
            source=source.name,
            target=target.name,
            transfers=transfers,
        )
        write_cell(folder, f"{source.name}_to_{target.name}", stacked, certificate)


def rank_target(trained: TrainedModel, target: Domain) -> Ranks:
    """Exact full-catalogue ranks of a target's test items by one trained model."""
    holdout = target.sequences.holdout("test")
    scorer = trained.scorer(target, holdout.history, target.sequences.observed("test"))
    label = f"{trained.label} on {target.name}"
    return rank_holdout(scorer, holdout, target.num_items, label=label)


def saw_of_model(card: ModelCard, source: Domain, target: Domain) -> Saw:
    """What a trained model saw of the target before it was asked to rank there."""
    variant = card.spec.variant
    in_domain = source.name == target.name
    text_domains: set[str] = set()
    if not isinstance(variant.items, IdItemsConfig):
        text_domains = {source.name, *card.pool_domains, *source.encoder_domains}
    test_users = target.sequences.holdout("test").users
    return Saw(
        zero_shot=not (in_domain or variant.counts),
        # Centred items and an anchor subtract the mean of the target's texts.
        target_text_seen=target.name in text_domains
        or variant.centered
        or variant.anchor is not None,
        target_interactions_used=in_domain or variant.counts,
        user_overlap=overlap_share(
            (target.sequences.user_ids[user] for user in test_users), source.sequences.user_ids
        ),
        item_overlap=overlap_share(target.item_ids, source.item_ids),
    )
