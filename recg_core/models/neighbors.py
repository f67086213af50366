"""Scores of all items from weighted similarities to the items of a history.

Shapes: B rows of a batch, N items, H dimension of the text embeddings.
"""

from collections.abc import Callable
from functools import cache, lru_cache

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

    def kernel(units_DH: Tensor, items: Items) -> Tensor:
        return near.products(units_DH, items).sub_(1).mul_(sharpness).exp_()

    distinct = len(np.unique(history.values))
    is_worth_it = len(near) <= min(max_kernel_items, 2 * distinct)

    @cache
    def kernel_NN() -> Tensor:  # made for whom scores are asked, and for nobody else
        return kernel(near.units(np.arange(len(near))), EVERY)

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        chosen = history.take(rows)
        weights = weigh(ages(chosen))
        if is_worth_it:
            return lambda items: weighted_sum(chosen, kernel_NN()[:, items], weights)
        distinct, local = among_distinct(chosen)
        units_DH = near.units(distinct)
        size = max(1, _KERNEL_BYTES // (4 * len(distinct) + 1))

        @lru_cache(maxsize=1)
        def block(number: int) -> Tensor:
            """A part of the kernel that several narrow tiles in turn are cut from."""
            return kernel(units_DH, slice(number * size, min((number + 1) * size, len(near))))

        def part_of_kernel(part: Items) -> Tensor:
            if not isinstance(part, slice) or part.start // size != (part.stop - 1) // size:
                return kernel(units_DH, part)
            first = part.start // size * size
            return block(part.start // size)[:, part.start - first : part.stop - first]

        def score(items: Items) -> Tensor:
            parts = parts_of(items, len(near), size)
            return joined([weighted_sum(local, part_of_kernel(part), weights) for part in parts])

        return score

    return Scorer(of)


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
