"""The users of a training step, what they are asked, and the items that it is about.

Shapes: B users, L positions, P predicted positions, M negatives, U distinct items of a batch,
E further items, N items of the domain, H dimension of the text embeddings, D model dim.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.backbones.base import Backbone
from recg_core.models.recommender import SequentialRecommender

BATCHES_SORTED_TOGETHER = 50  # enough to waste little padding, few enough to keep batches mixed


class Batch(NamedTuple):
    """B sequences, the P positions to predict, and M negatives that all positions share.

    Tensors of int64 alone, drawn on the CPU: the same on every device, and all sizes that depend on
    the data are known before a device has to wait for them.
    """

    sequences_BL: Tensor  # item_idx, padded with 0 on the right
    inputs_BL: Tensor  # of the views
    targets_P: Tensor  # item_idx; 0 where nothing is asked
    negatives_M: Tensor  # item_idx
    state_P: Tensor  # where the predicted positions stand among those of `inputs_BL`, row by row
    asked_P: Tensor  # where their items stand among those of `sequences_BL`
    last_B: Tensor  # where the last items stand among those of `sequences_BL`
    distinct_U: Tensor  # item_idx
    input_row_BL: Tensor  # rows of `distinct_U`, counted from 1; 0 at padding and hidden positions
    target_row_P: Tensor
    negative_row_M: Tensor


class BatchItems(NamedTuple):
    """Item vectors of a batch, each distinct item projected once."""

    inputs_BLD: Tensor  # zero at padding and at hidden positions
    targets_PD: Tensor
    negatives_MD: Tensor
    more_ED: Tensor


def length_bucketed_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield every row number once, in batches whose rows have similar lengths.

    Rows are shuffled, sorted by length within groups of `BATCHES_SORTED_TOGETHER` batches and cut;
    the batches of a group come in random order. All batches but one a group are full.
    """
    order = rng.permutation(len(lengths))
    group_size = batch_size * BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), group_size):
        group = order[start : start + group_size]
        group = group[np.argsort(lengths[group], kind="stable")]
        for cut in rng.permutation(np.arange(0, len(group), batch_size)):
            yield group[cut : cut + batch_size]


def mixed(counts: Sequence[int], seed: Sequence[int]) -> Iterator[int]:
    """Every number i `counts[i]` times, in random order."""
    numbers = np.repeat(np.arange(len(counts)), counts)
    yield from np.random.default_rng(seed).permutation(numbers).tolist()


def draw_batch(
    backbone: Backbone,
    sequences_BL: Tensor,
    num_items: int,
    num_negatives: int,
    generator: torch.Generator,
) -> Batch:
    """Views of the sequences, and negatives drawn uniformly from the catalogue, on the CPU.

    Args:
        sequences_BL: item_idx, padded with 0 on the right.
        num_items: of the domain that the sequences are of. Items of others would be told apart
            without knowing what a user wants.
    """
    inputs_BL, targets_BL = backbone.training_views(sequences_BL, generator)
    negatives_M = torch.randint(1, num_items + 1, (num_negatives,), generator=generator)
    user_P, position_P = torch.nonzero(targets_BL, as_tuple=True)
    targets_P = targets_BL[user_P, position_P]
    length, read_length = sequences_BL.shape[1], inputs_BL.shape[1]
    # A causal backbone predicts nothing at the first position.
    asked_P = user_P * length + position_P + length - targets_BL.shape[1]
    last_B = torch.arange(len(sequences_BL)) * length + (sequences_BL > 0).sum(dim=1) - 1
    read_BL = inputs_BL.clamp(min=0)
    shown = [read_BL.new_zeros(1), read_BL.flatten(), targets_P, negatives_M]
    distinct, rows = torch.unique(torch.cat(shown), return_inverse=True)
    _, inputs, target_row_P, negative_row_M = rows.split([len(part) for part in shown])
    return Batch(
        sequences_BL=sequences_BL,
        inputs_BL=inputs_BL,
        targets_P=targets_P,
        negatives_M=negatives_M,
        state_P=user_P * read_length + position_P,
        asked_P=asked_P,
        last_B=last_B,
        distinct_U=distinct[1:],
        input_row_BL=inputs.view_as(inputs_BL),
        target_row_P=target_row_P,
        negative_row_M=negative_row_M,
    )


def enlarged(batch: Batch, size_of: Callable[[int], int], longest: int) -> Batch:
    """A batch that says the same with other L, P and U, so that few shapes occur.

    Sequences end in more padding, positions at which nothing is asked follow, and the last of the
    distinct items stand for nothing.

    Args:
        size_of: the new size, not below the one that it is given.
        longest: sequences that the backbone reads.
    """
    length, read_length = batch.sequences_BL.shape[1], batch.inputs_BL.shape[1]
    more_L = min(size_of(length), longest) - length
    more_P, more_U = (
        size_of(len(each)) - len(each) for each in (batch.targets_P, batch.distinct_U)
    )

    def place(row_by_row: Tensor, length: int) -> Tensor:
        return row_by_row + row_by_row // length * more_L

    return Batch(
        sequences_BL=F.pad(batch.sequences_BL, (0, more_L)),
        inputs_BL=F.pad(batch.inputs_BL, (0, more_L)),
        targets_P=F.pad(batch.targets_P, (0, more_P)),
        negatives_M=batch.negatives_M,
        state_P=F.pad(place(batch.state_P, read_length), (0, more_P)),
        asked_P=F.pad(place(batch.asked_P, length), (0, more_P)),
        last_B=place(batch.last_B, length),
        distinct_U=F.pad(batch.distinct_U, (0, more_U), value=1),
        input_row_BL=F.pad(batch.input_row_BL, (0, more_L)),
        target_row_P=F.pad(batch.target_row_P, (0, more_P)),
        negative_row_M=batch.negative_row_M,
    )


def on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of int64 from the CPU on a device, in one copy that neither side waits for."""
    if device.type == "cpu":
        return list(tensors)
    flat = to_send(tensors, device).to(device, non_blocking=True)
    return shaped(flat, [tensor.shape for tensor in tensors])


def to_send(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """The values of all tensors one after the other, from where a GPU copies by itself."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    return flat.pin_memory() if device.type == "cuda" else flat


def shaped(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The tensors that `flat` has the values of."""
    parts = flat.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def project_items(
    model: SequentialRecommender, features: Tensor, batch: Batch, more_features_EH: Tensor
) -> BatchItems:
    """The vectors of a batch's items; the rest of the catalogue is never projected.

    Args:
        features: what the model's items read, one row an item of the domain.
        more_features_EH: further items to project in the same product, possibly none.
    """
    batch_features = features.index_select(0, batch.distinct_U - 1)
    vectors = model.item_vectors(torch.cat([batch_features, more_features_EH]))
    vectors_UD, more_ED = vectors.split([len(batch_features), len(more_features_EH)])
    table_UD = F.pad(vectors_UD, (0, 0, 1, 0))  # row 0 is the padding
    return BatchItems(
        F.embedding(batch.input_row_BL, table_UD),
        F.embedding(batch.target_row_P, table_UD),
        F.embedding(batch.negative_row_M, table_UD),
        more_ED,
    )
