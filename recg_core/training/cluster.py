"""The patterns of a trained model, and its validation as it will be evaluated."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recg_core.base.files import write_json
from recg_core.domains.domain import Domain
from recg_core.models.card import PATTERNS_FILE, ModelCard, model_names, read_card
from recg_core.models.variant import PatternsConfig
from recg_core.training.config import FusionConfig


def cluster_models(
    models: Path,
    load_source: Callable[[], Domain],
    config: FusionConfig,
    folder: Path,
    validation: Path,
    *,
    device: str | None = None,
) -> None:
    """Cluster all models of a folder; `folder` and `validation` get an entry for each.

    Raises:
        UserError: when there is no model, and as `cluster_model` does.
    """
    for name in model_names(models):
        cluster_model(
            models / name,
            load_source,
            config,
            folder / name,
            validation / f"{name}.json",
            device=device,
        )


def cluster_model(
    model: Path,
    load_source: Callable[[], Domain],
    config: FusionConfig,
    folder: Path,
    validation: Path,
    *,
    device: str | None = None,
) -> None:
    """Extract the source's patterns and train W_f for every seed; `patterns.json` comes last.

    A variant without patterns writes `patterns.json` alone into `folder`, from its model card:
    neither its weights nor the source are read, so that it takes no time.

    Args:
        load_source: gives the domain that the model was trained on.
        validation: JSON for NDCG@10 on the source's validation items, of the model as it will be
            evaluated: the mean over seeds. Settings are chosen by it, since it has seen no test
            item and no target.
        device: of torch; None: the GPU where there is one.

    Raises:
        UserError: when the model does not fit the source's embeddings, or clustering fails.
    """
    card = read_card(model)
    part = card.spec.variant.patterns
    summaries: dict[str, Any] = {}
    ndcg, clusters = card.valid_ndcg, 0
    if part is not None:
        clusters = part.clusters
        summaries = _fit_seeds(card, model, part, load_source(), config, folder, device)
        ndcg = [summary["valid_ndcg"] for summary in summaries.values()]
    write_json(validation, {"ndcg@10": float(np.mean(ndcg))})
    write_json(
        folder / PATTERNS_FILE, {"clusters": clusters, "seeds": summaries, "valid_ndcg": ndcg}
    )


def _fit_seeds(
    card: ModelCard,
    model: Path,
    part: PatternsConfig,
    source: Domain,
    config: FusionConfig,
    folder: Path,
    device: str | None,
) -> dict[str, Any]:
    """Write the patterns of every seed; what they look like by `seed-<s>`."""
    # Imported here: most variants have no patterns and need none of this.
    from recg_core.models.device import choose_device
    from recg_core.models.patterns import save_patterns
    from recg_core.models.trained import TrainedModel, load_recommender
    from recg_core.training.fusion import fit_patterns

    card.check(source, str(model))
    found: dict[str, Any] = {}
    for seed in card.seeds:
        recommender = load_recommender(card.spec, model, seed).to(choose_device(device))
        trained = TrainedModel(recommender, card, str(model))
        patterns, summary = fit_patterns(trained, part, source, config, seed)
        save_patterns(patterns, folder, seed)
        found[f"seed-{seed}"] = dataclasses.asdict(summary)
    return found
