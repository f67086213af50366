"""Metrics of every user from stored ranks: what all tables, tests and slices are made of.

Legend: U users, S seeds, M columns (a metric under a protocol).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recg_core.base.errors import UserError
from recg_core.models.ranking.metrics import KS, NUM_NEGATIVES, metric_names, ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks

FULL = "full"


@dataclass(frozen=True)
class Protocols:
    """How ranks become metrics: full ranking, and against sampled negatives in expectation."""

    ks: tuple[int, ...] = KS
    num_negatives: int = NUM_NEGATIVES

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"ks must be ascending cut-offs from 1 on, got {list(self.ks)}")
        if self.num_negatives < 1:
            raise ValueError(f"num_negatives must be 1 or more, got {self.num_negatives}")

    @property
    def sampled(self) -> str:
        """The name of the sampled protocol."""
        return f"sampled_{self.num_negatives}"

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Protocol and metric of each of the M columns."""
        return [(name, metric) for name in (FULL, self.sampled) for metric in metric_names(self.ks)]


@dataclass(frozen=True)
class UserMetrics:
    """One row's metrics on one target."""

    values: np.ndarray  # float64 [U, M], means over seeds
    seed_means: np.ndarray  # float64 [S, M], means over users


def user_metrics(rows: Sequence[SeedRanks], protocols: Protocols) -> list[UserMetrics]:
    """The metrics of several rows over the same users.

    Equal ranks give equal metrics, so each distinct (rank, ties, candidates) is computed once.
    """
    keys = _keys(rows)
    _, first, place = np.unique(
        np.concatenate([key.ravel() for key in keys]), return_index=True, return_inverse=True
    )
    gains = _gains(rows, first, protocols)
    found = []
    start = 0
    for key in keys:
        users, seeds = key.shape
        by_seed = place[start : start + key.size].reshape(users, seeds)
        start += key.size
        values = np.zeros((users, gains.shape[1]))
        seed_means = np.empty((seeds, gains.shape[1]))
        for seed in range(seeds):
            taken = gains[by_seed[:, seed]]
            values += taken
            seed_means[seed] = taken.mean(axis=0)
        found.append(UserMetrics(values / seeds, seed_means))
    return found


def check_same_users(rows: dict[str, SeedRanks]) -> None:
    """Refuse rows that were not ranked for the same users in the same catalogue.

    Raises:
        UserError: naming the first two that differ, and how.
    """
    (first, reference), *others = rows.items()
    for name, row in others:
        if not np.array_equal(row.users, reference.users):
            raise UserError(
                f"{first} and {name} were ranked for different users ({len(reference.users):,} and "
                f"{len(row.users):,}); they cannot be compared"
            )
        if not np.array_equal(row.num_candidates, reference.num_candidates):
            raise UserError(
                f"{first} and {name} were ranked in different catalogues or after different "
                "histories; they cannot be compared"
            )


def _flat(rows: Sequence[SeedRanks], name: str) -> np.ndarray:
    """A count of all rows in one vector, users before seeds."""
    parts = []
    for row in rows:
        values = getattr(row, name)
        wide = values if values.ndim == 2 else values[:, None]
        parts.append(np.broadcast_to(wide, row.num_higher.shape).ravel())
    return np.concatenate(parts)


def _keys(rows: Sequence[SeedRanks]) -> list[np.ndarray]:
    """An int64 [U, S] for each row that is equal where all three counts are equal."""
    counts = np.unique(np.concatenate([row.num_candidates for row in rows]))
    higher = 1 + max(int(row.num_higher.max()) for row in rows)
    ties = 1 + max(int(row.num_ties.max()) for row in rows)
    return [
        (np.searchsorted(counts, row.num_candidates)[:, None] * higher + row.num_higher) * ties
        + row.num_ties
        for row in rows
    ]


def _gains(rows: Sequence[SeedRanks], chosen: np.ndarray, protocols: Protocols) -> np.ndarray:
    """Metrics [chosen, M] at the chosen places of all rows in one vector."""
    higher, ties, candidates = (
        _flat(rows, name)[chosen] for name in ("num_higher", "num_ties", "num_candidates")
    )
    found = [
        ranking_metrics(higher, ties, candidates, protocols.ks, negatives)
        for negatives in (None, protocols.num_negatives)
    ]
    return np.stack([values for metrics in found for values in metrics.values()], axis=1)
