"""The tiles of users and items in which scores are computed: few at a time, with little work.

Legend: B rows of a group, N items of the catalogue, n items of a tile.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.domains.sequences import Holdout
from recg_core.models.rows import Scorer

SCORES_AT_ONCE = 1 << 20  # of a tile: 4 MiB, which a cache holds
USERS_AT_ONCE = 8192  # of a group: the more, the more of their history items are the same
HISTORY_AT_ONCE = 1 << 16  # items of their histories, but for a user who alone has more
TILES_KEPT = 64  # of a group, until the scores of all its test items are known
USERS_TOGETHER = 1 << 17  # of groups whose work on items may be shared,
HISTORY_TOGETHER = 1 << 17  # and items of their histories, in a catalogue of more
USERS_SHARING = 2048  # of such a group: the fewer, the fewer of its tiles have test items

# The number of a group, the items of a tile, their scores [B, n], those of the test items [B].
Tile = tuple[int, slice, Tensor, Tensor]


def in_tiles(
    scorer: Scorer, holdout: Holdout, num_items: int, label: str, progress: "tqdm[Any]"
) -> Iterator[tuple[list[np.ndarray], Iterator[Tile]]]:
    """Groups of rows that are ranked together, and the tiles of their scores.

    It is one group whose work is its own; or several whose work on items is shared, where that is
    less although they go through all items twice.
    """
    # Rows of like test items go together, since a tile counts for nothing before the scores of the
    # test items are known: those are in few tiles then.
    order = np.argsort(holdout.target, kind="stable")
    if scorer.together is None:
        for rows in _groups(holdout, order):
            yield [rows], _tiles_of_one(_Group(scorer, holdout, rows, label), num_items, progress)
        return
    most = HISTORY_TOGETHER if num_items > HISTORY_TOGETHER else len(holdout.history.values)
    for batch in _cut(holdout, order, USERS_TOGETHER, most):
        alone = list(_groups(holdout, batch))
        work = sum(_num_distinct(holdout, rows) for rows in alone)
        if 2 * _num_distinct(holdout, batch) < work:
            groups = list(_cut(holdout, batch, USERS_SHARING, HISTORY_AT_ONCE))
            shared = scorer.together(batch)
            asked = [_Group(shared, holdout, rows, label) for rows in groups]
            yield groups, _tiles_together(asked, num_items, shared.span, progress)
            continue
        for rows in alone:
            yield [rows], _tiles_of_one(_Group(scorer, holdout, rows, label), num_items, progress)


def _cut(holdout: Holdout, order: np.ndarray, users: int, history: int) -> Iterator[np.ndarray]:
    """Rows in their order, so many at a time, with so many items in their histories."""
    ends, start = np.cumsum(holdout.history.lengths[order]), 0
    while start < len(order):
        size = _size(ends, start, users, history)
        yield order[start : start + size]
        start += size


def _groups(holdout: Holdout, order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in their order, of which few tiles have test items."""
    ends, start = np.cumsum(holdout.history.lengths[order]), 0
    column = holdout.target[order] - 1
    while start < len(order):
        size = _size(ends, start, USERS_AT_ONCE, HISTORY_AT_ONCE)
        while size > 1:
            if len(np.unique(column[start : start + size] // _width(size))) <= TILES_KEPT:
                break
            size = (size + 1) // 2
        yield order[start : start + size]
        start += size


def _size(ends: np.ndarray, start: int, users: int, history: int) -> int:
    """How many rows from `start` on go together; `ends` says where their histories end."""
    before = ends[start - 1] if start else 0
    fitting = int(np.searchsorted(ends, before + history, "right")) - start
    return max(1, min(users, fitting))


def _width(num_rows: int) -> int:
    """The items of a tile of so many rows, a power of two."""
    return 1 << (max(1, SCORES_AT_ONCE // num_rows).bit_length() - 1)


def _num_distinct(holdout: Holdout, rows: np.ndarray) -> int:
    return len(np.unique(holdout.history.take(rows).values))


class _Group:
    """Rows that are scored a tile at a time.

    A test item's score is that in its tile, and is computed nowhere else: rounded otherwise, it
    would not tie with items like it.
    """

    def __init__(self, scorer: Scorer, holdout: Holdout, rows: np.ndarray, label: str) -> None:
        self.target_B = holdout.target[rows] - 1  # columns of the test items
        self._score = scorer.of(rows)
        self._label = label
        self._own_B: Tensor | None = None

    def scores(self, items: slice) -> Tensor:
        """Scores [B, n] of a tile."""
        scores_Bn = self._score(items)
        _check_scores(scores_Bn, (len(self.target_B), items.stop - items.start), self._label)
        return scores_Bn

    def take_own(self, items: slice, scores_Bn: Tensor) -> None:
        """Remember the scores of the test items that are in a tile."""
        if self._own_B is None:
            self._own_B = torch.empty(len(self.target_B), device=scores_Bn.device)
        here = (self.target_B >= items.start) & (self.target_B < items.stop)
        row = torch.from_numpy(np.flatnonzero(here))
        column = torch.from_numpy(self.target_B[here] - items.start)
        self._own_B[row] = scores_Bn[row, column]

    @property
    def own_B(self) -> Tensor:
        """The scores of all test items, once the tiles that have some have been taken."""
        assert self._own_B is not None
        return self._own_B

    def tiles(self, start: int, stop: int) -> tuple[list[slice], list[slice]]:
        """The tiles of some items: those with test items, and the others."""
        targets = np.unique(self.target_B)
        found: tuple[list[slice], list[slice]] = [], []
        for first in range(start, stop, _width(len(self.target_B))):
            items = slice(first, min(first + _width(len(self.target_B)), stop))
            has_some = np.searchsorted(targets, items.stop) > np.searchsorted(targets, first)
            found[0 if has_some else 1].append(items)
        return found


def _tiles_of_one(group: _Group, num_items: int, progress: "tqdm[Any]") -> Iterator[Tile]:
    """Those with test items first, which are kept until the scores of all are known."""
    own, others = group.tiles(0, num_items)
    kept = [(items, group.scores(items)) for items in own]
    for items, scores_Bn in kept:
        group.take_own(items, scores_Bn)
    advance = _Advance(progress, len(group.target_B), len(kept) + len(others))
    while kept:
        yield (0, *kept.pop(0), group.own_B)
        advance()
    for items in others:
        yield 0, items, group.scores(items), group.own_B
        advance()


def _tiles_together(
    groups: Sequence[_Group], num_items: int, span: int, progress: "tqdm[Any]"
) -> Iterator[Tile]:
    """First the test items' scores, then all tiles: a span of items at a time, of all groups."""
    starts = range(0, num_items, span)
    num_rows = sum(len(group.target_B) for group in groups)
    advance = _Advance(progress, num_rows, 2 * len(starts))
    for start in starts:
        for group in groups:
            for items in group.tiles(start, min(start + span, num_items))[0]:
                group.take_own(items, group.scores(items))
        advance()
    for start in reversed(starts):  # the last span's work is still there
        for number, group in enumerate(groups):
            for items in chain(*group.tiles(start, min(start + span, num_items))):
                yield number, items, group.scores(items), group.own_B
        advance()


class _Advance:
    """Moves a progress bar by rows that are ranked in so many parts."""

    def __init__(self, progress: "tqdm[Any]", num_rows: int, num_parts: int) -> None:
        self._progress, self._num_rows, self._num_parts = progress, num_rows, num_parts
        self._done = 0

    def __call__(self) -> None:
        before, self._done = self._num_rows * self._done // self._num_parts, self._done + 1
        self._progress.update(self._num_rows * self._done // self._num_parts - before)


def _check_scores(scores_Bn: Tensor, shape: tuple[int, int], label: str) -> None:
    if scores_Bn.shape != shape:
        raise ValueError(f"{label}: expected scores of shape {shape}, got {tuple(scores_Bn.shape)}")
    # The sum of finite scores is finite but for absurd magnitudes; isfinite is 50 times slower.
    if not torch.isfinite(scores_Bn.sum()) and not torch.isfinite(scores_Bn).all():
        raise UserError(
            f"{label}: gives scores that are NaN or infinite; its training has diverged or its "
            "item embeddings are damaged, so retrain it or encode again"
        )
