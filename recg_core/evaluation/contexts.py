"""How well a variant that reads a target's histories ranks there, by how many it may read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from recg_core.base.schema import RANKS
from recg_core.base.sources import in_domain
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Holdout, Ragged, share_of
from recg_core.evaluation.training_free import BaselinesConfig, training_free_scorers
from recg_core.models.card import model_names
from recg_core.models.ranking.full_rank import rank_holdout, stack_seeds
from recg_core.models.ranking.ranks import CONTEXTS, SeedRanks
from recg_core.models.trained import Evidence, ItemVectors, TrainedModel, load_seeds

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the target's histories, the larger with the smaller
USERS = 2000  # of a target that are ranked for, at most
ROWS = ("knn_lse_popularity", "visits_knn", "ease")  # what else reads histories


def write_contexts(
    models: Path,
    patterns: Path,
    sources: Sequence[str],
    targets: Sequence[Domain],
    folder: Path,
    config: BaselinesConfig,
    evidence: Mapping[str, Evidence],
) -> None:
    """Rank for some test users of every target with each of the `SHARES` of its histories.

    Writes `contexts/<target>/<number of histories>/<row>.parquet` into `folder`: a RANKS table for
    each of the `ROWS`, and for each source of which the target is no part, `from_<source>`. Of the
    backbones, none of which ranks there, the first is taken.

    Args:
        models: of the variant, `models/<source>`; `patterns` likewise.
        evidence: by target, what the variant reads of all its histories.

    Raises:
        UserError: as `load_seeds` does.
    """
    # Imported here: scipy takes a while.
    from recg_core.models.in_context.context import like_texts

    trained = {}
    for source in sources:
        name = model_names(models / source)[0]
        places = models / source / name, patterns / source / name
        trained[source] = load_seeds(*places, targets)
    for target in targets:
        elsewhere = {s: seeds for s, seeds in trained.items() if not in_domain(s, target.name)}
        if not elsewhere:
            continue
        holdout = target.sequences.holdout("test").sample(USERS)
        # Vectors, and what is read of texts and histories, are the same for all models.
        first = next(iter(next(iter(elsewhere.values())).values()))
        vectors = first.item_vectors(target)
        assert vectors.near is not None
        alike = like_texts(vectors.near)
        for share in SHARES:
            observed = share_of(target.sequences.observed("test"), share)
            place = folder / CONTEXTS / target.name / str(np.count_nonzero(observed.lengths))
            for row, ranks in _training_free(target, holdout, observed, config):
                RANKS.write(ranks.to_frame(), place / f"{row}.parquet")
            known = evidence[target.name]
            if share < 1.0:
                leaves_one_out = target.sequences.leaves_one_out
                known = first.evidence(vectors, observed, alike, leaves_one_out=leaves_one_out)
            for row, ranks in _models(elsewhere, target, holdout, vectors, known):
                RANKS.write(ranks.to_frame(), place / f"{row}.parquet")


def _training_free(
    target: Domain, holdout: Holdout, observed: Ragged, config: BaselinesConfig
) -> Iterator[tuple[str, SeedRanks]]:
    """Each of the `ROWS` and its ranks, where it reads what was observed."""
    histories, size = holdout.history, target.num_items
    for name, scorer in training_free_scorers(target, histories, observed, config):
        if name in ROWS:
            label = f"{name} on {target.name}"
            yield (
                name,
                stack_seeds({0: rank_holdout(scorer, holdout, size, label=label)}, holdout.users),
            )


def _models(
    trained: dict[str, dict[int, TrainedModel]],
    target: Domain,
    holdout: Holdout,
    vectors: ItemVectors,
    evidence: Evidence,
) -> Iterator[tuple[str, SeedRanks]]:
    """A row for each source and its ranks, where its models have read the evidence."""
    for source, seeds in trained.items():
        found = {}
        for seed, model in seeds.items():
            scorer = model.scorer_of(vectors, evidence, holdout.history)
            label = f"{source} on {target.name}"
            found[seed] = rank_holdout(scorer, holdout, target.num_items, label=label)
        yield f"from_{source}", stack_seeds(found, holdout.users)
