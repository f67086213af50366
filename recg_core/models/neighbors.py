"""Scores of all items from weighted similarities to the items of a history.

Shapes: B rows of a batch, N items, H dimension of the text embeddings.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.ranking.full_rank import ScoreBatch

# Up to here the whole item-item kernel is kept (4 GiB), if the histories have as many items; else
# its rows are made for every batch.
MAX_KERNEL_ITEMS = 32_768


def ages(history: Ragged) -> np.ndarray:
    """How many items of its row are younger than each value of `history`, int64 [values]."""
    return np.repeat(history.offsets[1:], history.lengths) - 1 - np.arange(len(history.values))


def kernel_scorer(
    history: Ragged,
    items_NH: Tensor,
    weigh: Callable[[np.ndarray], Tensor],
    sharpness: float,
    max_kernel_items: int = MAX_KERNEL_ITEMS,
) -> ScoreBatch:
    """A function from rows of `history` to sum_i w_i exp(sharpness (x_i . x_j - 1)), [B, N].

    Args:
        items_NH: unit item vectors x.
        weigh: gives the weights w of the `ages` of history items.
    """

    def kernel(history_items: Tensor) -> Tensor:
        return (history_items @ items_NH.T).sub_(1).mul_(sharpness).exp_()

    is_worth_it = len(items_NH) <= min(max_kernel_items, len(history.values))
    kernel_NN = kernel(items_NH) if is_worth_it else None

    def score(rows: np.ndarray) -> Tensor:
        chosen = history.take(rows)
        weights = weigh(ages(chosen))
        if kernel_NN is not None:
            return weighted_sum(chosen, kernel_NN, weights)
        distinct, position = np.unique(chosen.values, return_inverse=True)
        local = Ragged((position + 1).astype(np.int32), chosen.offsets)
        table = kernel(items_NH[torch.from_numpy(distinct).long().to(items_NH.device) - 1])
        return weighted_sum(local, table, weights)

    return score


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
