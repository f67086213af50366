"""Scores of all items from weighted similarities to the items of a history.

Shapes: B rows of a batch, N items, H dimension of the text embeddings.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.near import NearItems, UnitItems
from recg_core.models.rows import EVERY, Items, Rows, Scorer, num_chosen

# Up to here the whole item-item kernel is kept (4 GiB), if the histories have half of the items;
# else its rows are made for every batch.
MAX_KERNEL_ITEMS = 32_768
_KERNEL_BYTES = 1 << 28  # of the rows of a kernel that are made for a batch at a time


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
    """A function from rows of `history` to sum_i w_i exp(sharpness (x_i . x_j - 1)), [B, N].

    Args:
        items: unit item vectors x, [N, H] where they are a tensor.
        weigh: gives the weights w of the `ages` of history items.
    """
    near = UnitItems(Rows([items])) if isinstance(items, Tensor) else items

    def kernel(chosen: np.ndarray, items: Items) -> Tensor:
        return near.cosine(chosen, items).sub_(1).mul_(sharpness).exp_()

    distinct = len(np.unique(history.values))
    is_worth_it = len(near) <= min(max_kernel_items, 2 * distinct)
    kernel_NN = kernel(np.arange(len(near)), EVERY) if is_worth_it else None

    def score(rows: np.ndarray, items: Items = EVERY) -> Tensor:
        if kernel_NN is not None:
            chosen = history.take(rows)
            return weighted_sum(chosen, kernel_NN[:, items], weigh(ages(chosen)))
        width = num_chosen(items, len(near))
        found = []
        for part in _split(rows, history.lengths[rows], _KERNEL_BYTES // (4 * width + 1)):
            chosen = history.take(part)
            distinct, position = np.unique(chosen.values, return_inverse=True)
            local = Ragged((position + 1).astype(np.int32), chosen.offsets)
            found.append(weighted_sum(local, kernel(distinct - 1, items), weigh(ages(chosen))))
        return found[0] if len(found) == 1 else torch.cat(found)

    return score


def _split(rows: np.ndarray, lengths: np.ndarray, most: int) -> list[np.ndarray]:
    """Rows in turn, so that those of a part have `most` values together, or are a single row."""
    parts, start, size = [], 0, 0
    for place, length in enumerate(lengths.tolist()):
        if size + length > most and place > start:
            parts.append(rows[start:place])
            start, size = place, 0
        size += length
    return [*parts, rows[start:]]


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
