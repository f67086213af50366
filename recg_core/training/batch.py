"""The questions of a training step, and the items that they are about.

Shapes: B users, L positions, P predicted positions, M negatives, U distinct items of a batch,
E further items, N items of the source, H dimension of the text embeddings, D model dim.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.backbones.base import Backbone, Views
from recg_core.models.recommender import SequentialRecommender


@dataclass(frozen=True)
class Batch:
    """B sequences, the P positions to predict, and M negatives that all positions share."""

    sequences_BL: Tensor  # item_idx, padded with 0 on the right
    views: Views
    predict_BL: Tensor  # the predicted positions of `views`
    targets_P: Tensor  # item_idx
    negatives_M: Tensor  # item_idx

    @property
    def valid_PM(self) -> Tensor:
        """False where a negative is the item to predict."""
        return self.targets_P[:, None] != self.negatives_M


class BatchItems(NamedTuple):
    """Item vectors of a batch, each distinct item projected once."""

    inputs_BLD: Tensor  # zero at padding and at hidden positions
    targets_PD: Tensor
    negatives_MD: Tensor
    more_ED: Tensor


class Scores(NamedTuple):
    """Scores of the items to predict and of the negatives at the same positions."""

    positives_P: Tensor
    negatives_PM: Tensor


def draw_batch(
    backbone: Backbone,
    sequences_BL: Tensor,
    num_items: int,
    num_negatives: int,
    generator: torch.Generator,
) -> Batch:
    """Views of the sequences, and negatives drawn uniformly from the catalogue."""
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
        features: what the model's items read, one row an item of the source.
        more_features_EH: further items to project in the same product, possibly none.
    """
    inputs = batch.views.inputs_BL.clamp(min=0).flatten()
    padding = inputs.new_zeros(1)
    distinct_U, rows = torch.unique(
        torch.cat([padding, inputs, batch.targets_P, batch.negatives_M]), return_inverse=True
    )
    batch_features = features.index_select(0, distinct_U[1:] - 1)
    vectors = model.item_vectors(torch.cat([batch_features, more_features_EH]))
    vectors_UD, more_ED = vectors.split([len(batch_features), len(more_features_EH)])
    table_UD = F.pad(vectors_UD, (0, 0, 1, 0))  # row 0 is the padding
    sizes = [1, len(inputs), len(batch.targets_P), len(batch.negatives_M)]
    _, input_rows, target_rows, negative_rows = rows.split(sizes)
    return BatchItems(
        F.embedding(input_rows.view_as(batch.views.inputs_BL), table_UD),
        F.embedding(target_rows, table_UD),
        F.embedding(negative_rows, table_UD),
        more_ED,
    )


def product_scores(model: SequentialRecommender, batch: Batch, items: BatchItems) -> Scores:
    """Products of the model's states and item vectors at the predicted positions, Eq. 5."""
    states_PD = model.states(items.inputs_BLD, batch.views.inputs_BL)[batch.predict_BL]
    positives_P = (states_PD * items.targets_PD).sum(dim=-1)
    return Scores(positives_P, states_PD @ items.negatives_MD.T)
