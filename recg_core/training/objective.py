"""The recommendation objective of a step (Eq. 6), of a model alone or with a similarity anchor."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recg_core.domains.domain import Domain
from recg_core.domains.sequences import without_last
from recg_core.models.anchor import (
    Anchor,
    AnchorInputs,
    anchor_items,
    last_positions,
    observed_counts,
    training_scores,
)
from recg_core.models.recommender import SequentialRecommender
from recg_core.training.batch import Batch, BatchItems, product_scores
from recg_core.training.losses import Loss


class Objective(Protocol):
    """The loss of a batch's questions."""

    def __call__(self, batch: Batch, items: BatchItems) -> Tensor:
        """A scalar to be minimised."""
        ...


@dataclass(frozen=True)
class ProductObjective:
    """The loss of the products of states and item vectors."""

    model: SequentialRecommender
    loss: Loss
    num_items: int

    def __call__(self, batch: Batch, items: BatchItems) -> Tensor:
        """See `Objective`."""
        scores = product_scores(self.model, batch, items)
        return self.loss(*scores, batch.valid_PM, self.num_items)


@dataclass(frozen=True)
class AnchoredObjective:
    """Two terms, for a model whose score is the sum of an anchor's and its own.

    The first is the loss of the anchor alone on every user's last item, which is the question that
    another domain will ask; the second that of the whole score, in which the anchor is taken as
    given.
    """

    model: SequentialRecommender
    anchor: Anchor
    inputs: AnchorInputs
    loss: Loss
    num_items: int

    def __call__(self, batch: Batch, items: BatchItems) -> Tensor:
        """See `Objective`."""
        own = product_scores(self.model, batch, items)
        sequences_BL, predict_BL = batch.sequences_BL, batch.predict_BL
        near_BL, near_BLM = training_scores(
            self.anchor, self.inputs, sequences_BL, batch.negatives_M
        )
        # A causal backbone predicts nothing at the first position.
        skipped = sequences_BL.shape[1] - predict_BL.shape[1]
        whole = self.loss(
            own.positives_P + near_BL[:, skipped:][predict_BL].detach(),
            own.negatives_PM + near_BLM[:, skipped:][predict_BL].detach(),
            batch.valid_PM,
            self.num_items,
        )
        last_BL = last_positions(sequences_BL)
        valid_BM = sequences_BL[last_BL][:, None] != batch.negatives_M
        alone = self.loss(near_BL[last_BL], near_BLM[last_BL], valid_BM, self.num_items)
        return alone + whole


def create_objective(model: SequentialRecommender, source: Domain, loss: Loss) -> Objective:
    """The objective of a model on its source."""
    if model.anchor is None:
        return ProductObjective(model, loss, source.num_items)
    text = torch.from_numpy(source.text).to(model.device)
    # A sequence's last item is what the anchor has to find.
    counts = observed_counts(without_last(source.sequences.training()), source.num_items)
    inputs = AnchorInputs(anchor_items(text), counts.to(model.device))
    return AnchoredObjective(model, model.anchor, inputs, loss, source.num_items)
