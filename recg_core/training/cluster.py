"""The patterns of a trained model, and its validation as it will be evaluated."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recg_core.base.files import write_json, write_sealed_json
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.card import PATTERNS_FILE, read_card
from recg_core.training.config import FusionConfig


def cluster_model(
    model: Path,
    load_source: Callable[[], SourceDomains],
    config: FusionConfig,
    folder: Path,
    validation: Path,
) -> None:
    """Extract the source's patterns and train W_f for every seed; `patterns.json` comes last.

    A variant without patterns writes `patterns.json` alone into `folder`, from its model card:
    neither its weights nor the source are read, so that it takes no time.

    Args:
        load_source: gives the source that the model was trained on.
        validation: JSON for NDCG@10 on the source's validation items, of the model as it will be
            evaluated: the mean over seeds. Settings are chosen by it, since it has seen no test
            item and no target.

    Raises:
        UserError: when the model does not fit the source's embeddings, or clustering fails.
    """
    card = read_card(model)
    part = card.spec.variant.patterns
    summaries: dict[str, Any] = {}
    ndcg, clusters = card.valid_ndcg, 0
    if part is not None:
        # Imported here: most variants have no patterns and need none of this.
        from recg_core.models.device import choose_device
        from recg_core.models.patterns import save_patterns
        from recg_core.models.trained import TrainedModel, load_recommender
        from recg_core.training.fusion import fit_patterns

        source, label = load_source(), str(model)
        source.require_interactions()
        for domain in source.domains:
            card.check(domain, label)
        for seed in card.seeds:
            recommender = load_recommender(card.spec, model, seed).to(choose_device())
            trained = TrainedModel(recommender, card, label)
            patterns, summary = fit_patterns(trained, part, source, config, seed)
            save_patterns(patterns, folder, seed)
            summaries[f"seed-{seed}"] = dataclasses.asdict(summary)
        ndcg = [summary["valid_ndcg"] for summary in summaries.values()]
        clusters = part.clusters
    write_json(validation, {"ndcg@10": float(np.mean(ndcg))})
    content = {"clusters": clusters, "seeds": summaries, "valid_ndcg": ndcg}
    write_sealed_json(folder / PATTERNS_FILE, content)
