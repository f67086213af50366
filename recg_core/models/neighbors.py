"""Scores of all items from weighted similarities to the items of a history.

Shapes: B rows of a batch, N items, H dimension of the text embeddings.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.near import NearItems, UnitItems
from recg_core.models.rows import EVERY, Items, Rows, Scorer, joined, parts_of

# Up to here the whole item-item kernel is kept (256 MiB), if the histories have half of the items;
# else what a tile of users and items needs of it is made for that tile.
MAX_KERNEL_ITEMS = 8192
_KERNEL_BYTES = 1 << 26  # of the part of a kernel that is made at a time


def ages(history: Ragged) -> np.ndarray:
    """How many items of its row are younger than each value of `history`, int64 [values]."""
    return np.repeat(history.offsets[1:], history.lengths) - 1 - np.arange(len(history.values))


def kernel_scorer(
    history: Ragged,
    items: Tensor | NearItems,
    weigh: Callable[[np.ndarray], Tensor],
    sharpness: float,
    max_kernel_items: int = MAX_KERNEL_ITEMS,
) -> Scorer:
    """Scores sum_i w_i exp(sharpness (x_i . x_j - 1)) of the items i of rows of `history`.

    Args:
        items: unit item vectors x, [N, H] where they are a tensor.
        weigh: gives the weights w of the `ages` of history items.
    """
    near = UnitItems(Rows([items])) if isinstance(items, Tensor) else items
    is_worth_it = len(near) <= min(max_kernel_items, 2 * len(np.unique(history.values)))

    @cache
    def kernel_NN() -> Tensor:  # made for whom scores are asked, and for nobody else
        return _kernel(near, near.units(np.arange(len(near))), EVERY, sharpness)

    def whole(rows: np.ndarray) -> Callable[[Items], Tensor]:
        chosen = history.take(rows)
        weights = weigh(ages(chosen))
        return lambda items: weighted_sum(chosen, kernel_NN()[:, items], weights)

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        chosen = history.take(rows)
        distinct, local = among_distinct(chosen)
        kernel = _KernelInParts(near, distinct, sharpness)
        return kernel.scores(local, weigh(ages(chosen)))

    def together(all_rows: np.ndarray) -> Scorer:
        distinct = np.unique(history.take(all_rows).values)
        kernel = _KernelInParts(near, distinct - 1, sharpness)

        def of_group(rows: np.ndarray) -> Callable[[Items], Tensor]:
            chosen = history.take(rows)
            places = np.searchsorted(distinct, chosen.values).astype(np.int32) + 1
            return kernel.scores(Ragged(places, chosen.offsets), weigh(ages(chosen)))

        return Scorer(of_group, span=kernel.span)

    return Scorer(whole) if is_worth_it else Scorer(of, together)


class _KernelInParts:
    """The kernel of D items with all, of which one part of the columns is kept at a time.

    Args:
        chosen: the rows of the D items.
    """

    def __init__(self, near: NearItems, chosen: np.ndarray, sharpness: float) -> None:
        self._near = near
        self._units_DH = near.units(chosen)
        self._sharpness = sharpness
        # A power of two, as the widths of tiles are, so that none is cut from two parts.
        self.span = 1 << max(0, (_KERNEL_BYTES // (4 * len(chosen) + 1)).bit_length() - 1)
        self._kept: tuple[int, Tensor] | None = None

    def scores(self, history: Ragged, weights: Tensor) -> Callable[[Items], Tensor]:
        """The weighted sums of `history`, whose values are places among the D items from 1 on."""

        def score(items: Items) -> Tensor:
            parts = parts_of(items, len(self._near), self.span)
            return joined([weighted_sum(history, self._part(part), weights) for part in parts])

        return score

    def _part(self, items: Items) -> Tensor:
        """The columns of some items, which if they are a slice lie in one part."""
        if not isinstance(items, slice):
            return _kernel(self._near, self._units_DH, items, self._sharpness)
        number = items.start // self.span
        start, stop = number * self.span, min((number + 1) * self.span, len(self._near))
        if self._kept is None or self._kept[0] != number:
            self._kept = None  # before the next one is there
            part = slice(start, stop)
            self._kept = number, _kernel(self._near, self._units_DH, part, self._sharpness)
        return self._kept[1][:, items.start - start : items.stop - start]


def _kernel(near: NearItems, units_DH: Tensor, items: Items, sharpness: float) -> Tensor:
    return near.products(units_DH, items).sub_(1).mul_(sharpness).exp_()


def among_distinct(history: Ragged) -> tuple[np.ndarray, Ragged]:
    """The rows j = item_idx - 1 of a history's distinct items, and the history with places among
    them, from 1 on, instead of item_idx."""
    distinct, position = np.unique(history.values, return_inverse=True)
    return distinct - 1, Ragged((position + 1).astype(np.int32), history.offsets)


def weighted_sum(history: Ragged, table: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i table[i - 1] over the values i of every history row, [B, columns of the table]."""
    return F.embedding_bag(
        torch.from_numpy(history.values).long().to(table.device) - 1,
        table,
        torch.from_numpy(history.offsets).to(table.device),
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )
