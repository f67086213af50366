"""Training-free rows: what a target domain gives away without any model.

Legend: U users, B rows of a batch, N items, H embedding dimension.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.data import Holdout, Ragged, Sequences
from recg_core.evaluation import Saw, ScoreBatch, cell_content, rank_holdout, ranks_frame
from recg_core.metrics import NO_SOURCE
from recg_core.neighbors import MAX_KERNEL_ITEMS, ages, kernel_scorer, weighted_sum


@dataclass(frozen=True)
class BaselinesConfig:
    """The `baselines` section of the params.

    Args:
        decay: weight of a history item relative to the next younger one, in the recency rows.
        sharpness: factor of the cosine in the log-sum-exp rows.
        popularity: weight of the log count in the row that has one, relative to cosines.
    """

    decay: float
    sharpness: float
    popularity: float

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")
        if self.sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, got {self.sharpness}")
        if self.popularity <= 0:
            raise ValueError(f"popularity must be above 0, got {self.popularity}")


@dataclass(frozen=True)
class TrainingFree:
    """One row for one target: its RANKS table and its metrics JSON."""

    name: str
    ranks: pl.DataFrame
    content: dict[str, Any]


def training_free_rows(
    sequences: Sequences,
    embeddings: np.ndarray,
    config: BaselinesConfig,
    *,
    target: str,
    encoder_domains: Collection[str] = (),
) -> Iterator[TrainingFree]:
    """Rank the test items of a domain by every training-free row, one row at a time.

    `random` ties all items, so that its metrics are the exact expectation of a random order;
    `popularity` counts the items n(j) of the domain's histories, and so uses target interactions;
    the `knn_` rows score candidate j by the cosines c(i, j) of item embeddings to the history items
    i, whose age a(i) is 0 for the latest:

        last        c(latest, j)
        mean        sum_i c(i, j)
        recency     sum_i decay^a(i) c(i, j)
        lse         log sum_i decay^a(i) exp(sharpness c(i, j))

    each `raw` and `centered`: with the mean embedding of the domain's items subtracted first,
    which reads all item texts of the target. `knn_lse_popularity_centered` adds popularity
    log(1 + n(j)) to lse / sharpness.

    Args:
        embeddings: float32 [N, H], row j - 1 for item_idx j.
        encoder_domains: whose item texts the encoder was fitted on.

    Raises:
        UserError: when no user has a test item or an embedding is not finite.
    """
    holdout = sequences.holdout("test")
    num_items = len(embeddings)
    for name, score_batch in _scorers(holdout, embeddings, config):
        ranks = ranks_frame(
            {0: rank_holdout(score_batch, holdout, num_items, label=f"{name} on {target}")},
            holdout.users,
        )
        saw = Saw(
            zero_shot="popularity" not in name,
            target_text_seen=name.endswith("_centered")
            or (name.startswith("knn_") and target in encoder_domains),
            target_interactions_used="popularity" in name,
            user_overlap=0.0,
            item_overlap=0.0,
        )
        content = cell_content(ranks, model=name, source=NO_SOURCE, target=target, saw=saw)
        yield TrainingFree(name, ranks, content)


def _scorers(
    holdout: Holdout, embeddings: np.ndarray, config: BaselinesConfig
) -> Iterator[tuple[str, ScoreBatch]]:
    """The rows one after the other, so that only one kernel is in memory at a time."""
    num_items = len(embeddings)
    yield "random", _same_for_all(np.zeros(num_items))
    counts_N = np.bincount(holdout.history.values, minlength=num_items + 1)[1:]
    yield "popularity", _same_for_all(counts_N)
    raw_NH = torch.from_numpy(embeddings)
    decays = {"last": 0.0, "mean": 1.0, "recency": config.decay}
    for version, centre in (("raw", 0.0), ("centered", raw_NH.mean(dim=0))):
        items_NH = F.normalize(raw_NH - centre, dim=1)
        for name, decay in decays.items():
            yield f"knn_{name}_{version}", weighted_mean_scorer(holdout.history, items_NH, decay)
        lse = log_sum_exp_scorer(holdout.history, items_NH, config.decay, config.sharpness)
        yield f"knn_lse_{version}", lse
    prior_N = torch.from_numpy(np.log1p(counts_N).astype(np.float32)) * config.popularity
    yield "knn_lse_popularity_centered", lambda rows: lse(rows).log() / config.sharpness + prior_N


def weighted_mean_scorer(history: Ragged, items_NH: Tensor, decay: float) -> ScoreBatch:
    """Scores sum_i decay^a(i) x_i . x_j for unit item vectors x; decay 0 is the last item alone."""

    def score(rows: np.ndarray) -> Tensor:
        chosen = history.take(rows)
        return weighted_sum(chosen, items_NH, _decayed(chosen, decay)) @ items_NH.T

    return score


def log_sum_exp_scorer(
    history: Ragged,
    items_NH: Tensor,
    decay: float,
    sharpness: float,
    max_kernel_items: int = MAX_KERNEL_ITEMS,
) -> ScoreBatch:
    """Scores sum_i decay^a(i) exp(sharpness (x_i . x_j - 1)) for unit item vectors x.

    The logarithm is left out and the exponent shifted: both keep the order, and near-equal
    scores stay apart in float32.
    """
    weights = _decayed(history, decay)
    return kernel_scorer(history, items_NH, weights, sharpness, max_kernel_items)


def _decayed(history: Ragged, decay: float) -> Tensor:
    """decay^age of every value of the history."""
    return torch.from_numpy((decay ** ages(history)).astype(np.float32))


def _same_for_all(scores: np.ndarray) -> ScoreBatch:
    scores_N = torch.from_numpy(scores.astype(np.float32))
    return lambda rows: scores_N.expand(len(rows), -1)
