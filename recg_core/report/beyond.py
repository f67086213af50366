"""What recommendations are like beside whether they hit: common or rare, all the same or not.

Legend: U users, K items of a list, N items of the target, S seeds.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.schema import LISTS
from recg_core.domains.sequences import Ragged, load_sequences
from recg_core.evaluation.certificate import NUM_LISTED, lists_path
from recg_core.models.ranking.metrics import reciprocal_ranks
from recg_core.models.ranking.ranks import read_ranks
from recg_core.report.cells import Cell, Cells
from recg_core.report.layout import Entry, Number, Section, Table
from recg_core.report.statistics import t_interval

_WORDS = (
    "Of the ten items that a row recommends first (its first seed; MRR is of all seeds and of all "
    "ranks). Coverage: the share of the catalogue that is recommended to anyone. Popularity: the "
    "percentile of an item among all by the number of users who met it in training histories, 50 "
    "for items drawn by chance. Novelty: self-information, log2(users / users who met the item), "
    "in bits; an item that nobody met counts as met once. Diversity: 1 less the mean cosine of the "
    "texts of two items of a list. Beside each mean half of its 95 % interval over users, of "
    "coverage by the jackknife. The hit rate HR@k is Recall@k: each user has one test item."
)


class Spread(NamedTuple):
    """A mean over users, and half of its 95 % interval."""

    mean: float
    half: float


def beyond_section(cells: Cells, domains: Path, num_items: dict[str, int]) -> Section:
    """The zero-shot cells and training-free rows of every target that have lists.

    Args:
        domains: holds `<domain>/sequences.parquet`.
        num_items: of every domain.

    Raises:
        UserError: when lists, ranks or sequences are missing, damaged or of other users.
    """
    rows = [row for target in cells.large for row in _rows(cells, target, domains, num_items)]
    table = Table(
        "beyond_accuracy",
        "Beyond accuracy",
        "Percent, but for bits and diversity.",
        3,
        (
            "Target", "Source", "Row", "MRR", "±", f"Coverage@{NUM_LISTED}", "±",
            "Popularity", "±", "Novelty", "±", "Diversity", "±",
        ),
        tuple(rows),
    )  # fmt: skip
    return Section("Beyond accuracy", (_WORDS,) if rows else (), (table,) if rows else ())


def _rows(
    cells: Cells, target: str, domains: Path, num_items: dict[str, int]
) -> Iterator[tuple[Entry, ...]]:
    shown = [c for c in cells.of_target(target) if c.certificate.listed and not c.in_domain]
    if not shown:
        return
    training = load_sequences(domains / target / "sequences.parquet").training()
    met_N, num_users = users_who_met(training, num_items[target]), len(training)
    for cell in shown:
        users = None if cells.users is None else cells.users[target]
        frame = _lists(cell, users)
        lists = frame["items"].to_list()
        source = cell.source if cell.trained else "-"
        found = [(100, mean_reciprocal_rank(cell, users))]
        if any(lists):
            found += [
                (100, coverage(lists, num_items[target])),
                (100, popularity(lists, met_N)),
                (1, novelty(lists, met_N, num_users)),
                (1, _spread(frame["diversity"].to_numpy())),
            ]
        numbers = [Number(scale * value) for scale, spread in found for value in spread]
        empty = [Number(None)] * (10 - len(numbers))
        yield (target, source, f"{cell.model}{cell.marks}", *numbers, *empty)


def _lists(cell: Cell, users: np.ndarray | None) -> pl.DataFrame:
    path = lists_path(cell.ranks)
    frame = LISTS.read(path)
    if frame.height < cell.certificate.num_users:
        raise UserError(f"{path}: has lists of other users than those ranked; evaluate again")
    return frame if users is None else frame.filter(pl.col("user_idx").is_in(users.tolist()))


def users_who_met(training: Ragged, num_items: int) -> np.ndarray:
    """By how many users each item was met, int64 [N]."""
    user = training.rows
    met = np.unique(user * (num_items + 1) + training.values) % (num_items + 1)
    return np.bincount(met, minlength=num_items + 1)[1:]


def mean_reciprocal_rank(cell: Cell, users: np.ndarray | None = None) -> Spread:
    """MRR of a cell under full ranking: a user's value is the mean over seeds."""
    ranks = read_ranks(cell.ranks)
    ranks = ranks if users is None else ranks.of_users(users)
    return _spread(reciprocal_ranks(ranks.num_higher, ranks.num_ties).mean(axis=1))


def coverage(lists: Sequence[Sequence[int]], num_items: int) -> Spread:
    """The share of the catalogue in any list.

    Without user u it would be less by what u alone was recommended, s(u) / N, which is all that the
    jackknife needs.
    """
    counts = np.bincount(np.concatenate(lists).astype(np.int64), minlength=num_items + 1)
    alone = np.array([sum(counts[item] == 1 for item in items) for items in lists])
    half = _spread(alone * (len(lists) - 1) / num_items).half
    return Spread(np.count_nonzero(counts) / num_items, half)


def popularity(lists: Sequence[Sequence[int]], met_N: np.ndarray) -> Spread:
    """The mean over users of their items' percentile by `met_N`; equal counts share the middle."""
    ordered = np.sort(met_N)
    below, through = (np.searchsorted(ordered, met_N, side) for side in ("left", "right"))
    return _of_items(lists, (below + through) / (2 * len(met_N)))


def novelty(lists: Sequence[Sequence[int]], met_N: np.ndarray, num_users: int) -> Spread:
    """The mean over users of their items' self-information, log2(users / users who met it)."""
    return _of_items(lists, np.log2(num_users / np.maximum(met_N, 1)))


def _of_items(lists: Sequence[Sequence[int]], value_N: np.ndarray) -> Spread:
    return _spread(np.array([value_N[np.array(x) - 1].mean() for x in lists if len(x)]))


def _spread(values_U: np.ndarray) -> Spread:
    values_U = values_U.astype(np.float64)
    low, high = t_interval(values_U)
    return Spread(float(values_U.mean()), (high - low) / 2)
