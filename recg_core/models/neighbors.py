"""Scores of all items from weighted similarities to the items of a history.

Shapes: B rows of a batch, N items, H dimension of the text embeddings.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.ranking.scores import ScoreBatch

# Up to here the whole item-item kernel is kept (4 GiB); beyond, its rows are made for every batch.
MAX_KERNEL_ITEMS = 32_768


def ages(history: Ragged) -> np.ndarray:
    """How many items of its row are younger than each value of `history`, int64 [values]."""
    return np.repeat(history.offsets[1:], history.lengths) - 1 - np.arange(len(history.values))


def kernel_scorer(
    history: Ragged,
    items_NH: Tensor,
    weights: Tensor,
    sharpness: float,
    max_kernel_items: int = MAX_KERNEL_ITEMS,
) -> ScoreBatch:
    """A function from rows of `history` to sum_i w_i exp(sharpness (x_i . x_j - 1)), [B, N].

    Args:
        items_NH: unit item vectors x.
        weights: of every value of `history`.
    """

    def kernel(history_items: Tensor) -> Tensor:
        return (history_items @ items_NH.T).sub_(1).mul_(sharpness).exp_()

    def score_from_batch(rows: np.ndarray) -> Tensor:
        chosen = history.take(rows)
        distinct, position = np.unique(chosen.values, return_inverse=True)
        local = Ragged((position + 1).astype(np.int32), chosen.offsets)
        table = kernel(items_NH[torch.from_numpy(distinct).long().to(items_NH.device) - 1])
        return weighted_sum(local, table, weights[_places(history, rows, weights.device)])

    if len(items_NH) > max_kernel_items:
        return score_from_batch
    kernel_NN = kernel(items_NH)
    return lambda rows: weighted_sum(
        history.take(rows), kernel_NN, weights[_places(history, rows, weights.device)]
    )


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


def _places(history: Ragged, rows: np.ndarray, device: torch.device) -> Tensor:
    """Where the values of the given rows stand in `history.values`."""
    places = Ragged(np.arange(len(history.values)), history.offsets)
    return torch.from_numpy(places.take(rows).values).to(device)
