"""Training-free rows: what a target domain gives away without any model.

Legend: U users, B rows of a batch, N items, H embedding dimension.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged
from recg_core.evaluation.certificate import NO_SOURCE, Saw, write_cell
from recg_core.evaluation.examples import example_recommendations
from recg_core.evaluation.lists import Listing
from recg_core.models.near import NearItems, near_items
from recg_core.models.neighbors import ages, among_distinct, kernel_scorer, weighted_sum
from recg_core.models.ranking.full_rank import rank_holdout, stack_seeds
from recg_core.models.rows import Items, Scorer, combined

# The rows that read the histories of the target's users.
READ_HISTORIES = ("popularity", "knn_lse_popularity", "visits_last", "visits_knn", "ease")


@dataclass(frozen=True)
class BaselinesConfig:
    """The `baselines` section of the params."""

    decay: float  # weight of a history item relative to the next younger one
    sharpness: float  # factor of the cosine in the log-sum-exp rows
    popularity: float  # weight of the log count in the row that has one, relative to cosines
    ease: float  # strength of the ridge in the row `ease`

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")
        if self.sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, got {self.sharpness}")
        if self.popularity <= 0:
            raise ValueError(f"popularity must be above 0, got {self.popularity}")
        if self.ease <= 0:
            raise ValueError(f"ease must be above 0, got {self.ease}")


def write_training_free(targets: Sequence[Domain], config: BaselinesConfig, folder: Path) -> None:
    """Rank the test items of domains by every training-free row and write a cell for each.

    `random` ties all items, so that its metrics are the exact expectation of a random order;
    `popularity` counts the items n(j) of the domain's histories, and so uses target interactions;
    the `knn_` rows score candidate j by the cosines c(i, j) of item embeddings to the history items
    i, whose age a(i) is 0 for the latest:

        last        c(latest, j)
        mean        sum_i c(i, j)
        recency     sum_i decay^a(i) c(i, j)
        lse         log sum_i decay^a(i) exp(sharpness c(i, j))

    each `raw` and `centered`: with the mean embedding of the domain's items subtracted first,
    which reads all item texts of the target. `knn_lse_popularity` adds popularity
    log(1 + n(j)) to lse / sharpness.

    The others use the target's interactions as well, and no text: `visits_last` scores j by how
    often it came soon after the latest item (or before it, at half the weight), `visits_knn` by
    sum_i decay^a(i) v(i, j) / sqrt(n(i) n(j)) of these co-visits v, and `ease` by
    sum_i decay^a(i) B(i, j) of EASE (Steck, 2019).

    Raises:
        UserError: when no user has a test item or an embedding is not finite.
    """
    for target in targets:
        holdout = target.sequences.holdout("test")
        observed = target.sequences.observed("test")
        for name, scorer in training_free_scorers(target, holdout.history, observed, config):
            label, lists = f"{name} on {target.name}", Listing(holdout)
            ranks = rank_holdout(scorer, holdout, target.num_items, label=label, watch=lists.watch)
            write_cell(
                folder,
                f"{name}_to_{target.name}",
                stack_seeds({0: ranks}, holdout.users),
                saw_of_row(name, target),
                backbone=None,
                variant=name,
                source=NO_SOURCE,
                target=target.name,
                description=describe_row(name, config),
                examples=example_recommendations(scorer, holdout),
                lists=lists.table(target.text),
            )


def saw_of_row(name: str, target: Domain) -> Saw:
    """What a training-free row sees of its target."""
    used, by_text = name in READ_HISTORIES, name.startswith("knn_")
    centered, fitted = not name.endswith("_raw"), target.name in target.encoder_domains
    return Saw(
        zero_shot=not used,
        target_text_seen=by_text and (centered or fitted),
        target_interactions_used=used,
        user_overlap=0.0,
        item_overlap=0.0,
    )


def describe_row(name: str, config: BaselinesConfig) -> str:
    """One sentence on what a training-free row ranks by."""
    by_likeness = {
        "last": "to the latest item",
        "mean": "to the history, all items alike",
        "recency": f"to the history, an item {config.decay:g} times the next younger one",
        "lse": "to the history, near items above all (log-sum-exp, sharpness "
        f"{config.sharpness:g})",
    }
    if not name.startswith("knn_"):
        return {
            "random": "All items alike: what chance gives.",
            "popularity": "How often an item occurs in the target's histories.",
            "visits_last": "How often an item came soon before or after the latest one in the "
            "target's histories.",
            "visits_knn": "How often an item came soon before or after those of the history, for "
            "how often each occurs; all of the target's histories.",
            "ease": "EASE, item-item weights in closed form from the target's histories.",
        }[name]
    _, rule, version = name.split("_")
    words = f"Likeness of texts {by_likeness[rule]}"
    return {
        "raw": f"{words}.",
        "centered": f"{words}; the mean of the target's texts is subtracted first.",
        "popularity": f"{words}, centred, plus {config.popularity:g} times the log count in the "
        "target's histories.",
    }[version]


def training_free_scorers(
    target: Domain, history: Ragged, observed: Ragged, config: BaselinesConfig
) -> Iterator[tuple[str, Scorer]]:
    """Name and scorer of the rows one after the other: one item-item kernel is alive at a time.

    Args:
        history: of the users that are ranked for.
        observed: histories of all users, in which popularity is counted.
    """
    yield "random", _same_for_all(np.zeros(target.num_items))
    counts_N = np.bincount(observed.values, minlength=target.num_items + 1)[1:]
    yield "popularity", _same_for_all(counts_N)
    cpu = torch.device("cpu")
    raw = near_items(target.text, np.zeros(target.text.shape[1], dtype=np.float32), cpu)
    yield from _similarity_scorers("raw", history, raw, config)
    del raw
    prior_N = torch.from_numpy(np.log1p(counts_N).astype(np.float32)) * config.popularity
    centered = near_items(target.text, target.text_mean, cpu)
    yield from _similarity_scorers("centered", history, centered, config, prior_N)
    del centered
    # Imported here: scipy takes a while.
    from recg_core.evaluation.history_rows import history_scorers

    yield from history_scorers(
        history, observed, target.num_items, decay=config.decay, strength=config.ease
    )


def _similarity_scorers(
    version: str,
    history: Ragged,
    items: NearItems,
    config: BaselinesConfig,
    prior_N: Tensor | None = None,
) -> Iterator[tuple[str, Scorer]]:
    """The rows of cosines, whose kernel goes when they are through."""
    for name, decay in {"last": 0.0, "mean": 1.0, "recency": config.decay}.items():
        yield f"knn_{name}_{version}", weighted_mean_scorer(history, items, decay)
    # The logarithm is left out and the exponent shifted: both keep the order, and near-equal scores
    # stay apart in float32.
    weigh = partial(_decayed, decay=config.decay)
    lse = kernel_scorer(history, items, weigh, config.sharpness)
    yield f"knn_lse_{version}", lse
    if prior_N is not None:

        def with_prior(items: Items, of_texts: Tensor) -> Tensor:
            return of_texts.log() / config.sharpness + prior_N[items]

        yield "knn_lse_popularity", combined([lse], lambda rows: with_prior)


def weighted_mean_scorer(history: Ragged, items: NearItems, decay: float) -> Scorer:
    """Scores sum_i decay^a(i) x_i . x_j for unit item vectors x; decay 0 is the last item alone."""

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        chosen = history.take(rows)
        distinct, local = among_distinct(chosen)
        mean_BH = weighted_sum(local, items.units(distinct), _decayed(ages(chosen), decay))
        return lambda chosen_items: items.products(mean_BH, chosen_items)

    return Scorer(of)


def _decayed(age: np.ndarray, decay: float) -> Tensor:
    """decay^age of every item."""
    return torch.from_numpy((decay**age).astype(np.float32))


def _same_for_all(scores: np.ndarray) -> Scorer:
    scores_N = torch.from_numpy(scores.astype(np.float32))
    return Scorer(lambda rows: lambda items: scores_N[items].expand(len(rows), -1))
