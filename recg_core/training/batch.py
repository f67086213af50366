"""The users of a training step, what they are asked, and the items that it is about.

Shapes: B users, L positions, P predicted positions, M negatives, U distinct items of a batch,
E further items, N items of the domain, H dimension of the text embeddings, D model dim.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.backbones.base import Backbone, Views
from recg_core.models.recommender import SequentialRecommender

BATCHES_SORTED_TOGETHER = 50  # enough to waste little padding, few enough to keep batches mixed


@dataclass(frozen=True)
class Batch:
    """B sequences, the P positions to predict, and M negatives that all positions share."""

    sequences_BL: Tensor  # item_idx, padded with 0 on the right
    views: Views
    predict_BL: Tensor  # the predicted positions of `views`
    targets_P: Tensor  # item_idx
    negatives_M: Tensor  # item_idx


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
    """Views of the sequences, and negatives drawn uniformly from the catalogue.

    Args:
        num_items: of the domain that the sequences are of. Items of others would be told apart
            without knowing what a user wants.
    """
    views = backbone.training_views(sequences_BL, generator)
    predict_BL = views.targets_BL > 0
    negatives_M = torch.randint(
        1, num_items + 1, (num_negatives,), generator=generator, device=sequences_BL.device
    )
    return Batch(sequences_BL, views, predict_BL, views.targets_BL[predict_BL], negatives_M)


def project_items(
    model: SequentialRecommender, features: Tensor, batch: Batch, more_features_EH: Tensor
) -> BatchItems:
    """The vectors of a batch's items; the rest of the catalogue is never projected.

    Args:
        features: what the model's items read, one row an item of the domain.
        more_features_EH: further items to project in the same product, possibly none.
    """
    inputs_BL = batch.views.inputs_BL.clamp(min=0)
    padding = inputs_BL.new_zeros(1)
    asked = [padding, inputs_BL.flatten(), batch.targets_P, batch.negatives_M]
    distinct_U, rows = torch.unique(torch.cat(asked), return_inverse=True)
    batch_features = features.index_select(0, distinct_U[1:] - 1)
    vectors = model.item_vectors(torch.cat([batch_features, more_features_EH]))
    vectors_UD, more_ED = vectors.split([len(batch_features), len(more_features_EH)])
    table_UD = F.pad(vectors_UD, (0, 0, 1, 0))  # row 0 is the padding
    _, inputs, targets, negatives = rows.split([len(part) for part in asked])
    return BatchItems(
        F.embedding(inputs.view_as(inputs_BL), table_UD),
        F.embedding(targets, table_UD),
        F.embedding(negatives, table_UD),
        more_ED,
    )
