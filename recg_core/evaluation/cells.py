"""Evaluating a trained model on its source and, zero-shot, on every other domain."""

from collections.abc import Sequence
from pathlib import Path

from recg_core.base.sources import in_domain
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains
from recg_core.evaluation.certificate import Saw, overlap_share, write_cell
from recg_core.evaluation.contexts import write_contexts
from recg_core.evaluation.describe import describe_variant
from recg_core.evaluation.examples import example_recommendations
from recg_core.evaluation.lists import Listing
from recg_core.evaluation.training_free import BaselinesConfig
from recg_core.models.card import ModelCard, model_names, read_card
from recg_core.models.ranking.full_rank import Watch, rank_holdout, stack_seeds
from recg_core.models.trained import Evidence, load_seeds


def evaluate_variant(
    models: Path,
    patterns: Path,
    sources: Sequence[SourceDomains],
    targets: Sequence[Domain],
    folder: Path,
    config: BaselinesConfig,
    *,
    variant: str,
) -> None:
    """Evaluate the models of a variant, those of `models/<source>`, into `<folder>/<backbone>`.

    One that reads contexts is evaluated with parts of them as well; see `write_contexts`.

    Args:
        config: of the training-free rows that are ranked beside it there.

    Raises:
        UserError: as `evaluate_model` does.
    """
    evidence: dict[str, Evidence] = {}
    for source in sources:
        for name in model_names(models / source.name):
            place = source.name, name
            evaluate_model(
                models.joinpath(*place),
                patterns.joinpath(*place),
                source,
                targets,
                folder / name,
                evidence,
                variant=variant,
            )
    first = models / sources[0].name
    if read_card(first / model_names(first)[0]).spec.variant.in_context is not None:
        names = [source.name for source in sources]
        write_contexts(models, patterns, names, targets, folder, config, evidence)


def evaluate_model(
    model: Path,
    patterns: Path,
    source: SourceDomains,
    targets: Sequence[Domain],
    folder: Path,
    evidence: dict[str, Evidence],
    *,
    variant: str,
) -> None:
    """Rank every target's test items with every seed and write one cell a target.

    A model of item ids knows no other domain's items and is evaluated on its source alone.

    Args:
        folder: for the cells, `<source>_to_<target>`.
        evidence: what models of the variant read of the targets' histories, which is the same for
            all of them; what is missing is added.
        variant: the name of the model's row, for the certificates.

    Raises:
        UserError: when the model or its patterns do not fit the embeddings or each other.
    """
    card = read_card(model)
    transfers = not card.spec.variant.by_id
    if not transfers:
        targets = [target for target in targets if in_domain(source.name, target.name)]
    seeds = load_seeds(model, patterns, targets)
    for target in targets:
        holdout, observed = target.sequences.holdout("test"), target.sequences.observed("test")
        ranks, examples, lists = {}, None, None
        for seed, trained in seeds.items():
            vectors = trained.item_vectors(target)
            if target.name not in evidence:
                leaves_one_out = target.sequences.leaves_one_out
                evidence[target.name] = trained.evidence(
                    vectors, observed, leaves_one_out=leaves_one_out
                )
            scorer = trained.scorer_of(vectors, evidence[target.name], holdout.history)
            label = f"{trained.label} on {target.name}"
            watch: Watch | None = None
            if examples is None:  # of the first seed
                examples = example_recommendations(scorer, holdout)
                lists = Listing(holdout)
                watch = lists.watch
            ranks[seed] = rank_holdout(scorer, holdout, target.num_items, label=label, watch=watch)
        write_cell(
            folder,
            f"{source.name}_to_{target.name}",
            stack_seeds(ranks, holdout.users),
            saw_of_model(card, source, target),
            backbone=card.spec.backbone,
            variant=variant,
            source=source.name,
            target=target.name,
            transfers=transfers,
            curve_sha256=card.curve_sha256,
            description=describe_variant(card.spec.variant),
            backbone_ranks=not card.spec.variant.by_similarity,
            examples=examples or (),
            lists=lists.table(target.text) if lists else None,
        )


def saw_of_model(card: ModelCard, source: SourceDomains, target: Domain) -> Saw:
    """What a trained model saw of the target before it was asked to rank there."""
    variant = card.spec.variant
    used = in_domain(source.name, target.name) or variant.reads_histories
    by_text = not variant.by_id
    encoder_domains = source.domains[0].encoder_domains  # the encoder is that of all domains
    fitted = target.name in {*card.domains, *card.pool_domains, *encoder_domains}
    # Similarity and centred items subtract the mean of the target's texts.
    centered = variant.centered or variant.by_similarity
    test_users = target.sequences.holdout("test").users
    users = [target.sequences.user_ids[user] for user in test_users]
    return Saw(
        zero_shot=not used,
        target_text_seen=by_text and (fitted or centered),
        target_interactions_used=used,
        user_overlap=overlap_share(users, source.user_ids),
        item_overlap=overlap_share(target.item_ids, source.item_ids),
    )
