"""The recommendation objective of a step (Eq. 6), of a model alone or with a similarity anchor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recg_core.domains.domain import Domain
from recg_core.domains.sequences import without_last
from recg_core.models.anchor import (
    AnchorInputs,
    last_positions,
    observed_counts,
    training_scores,
)
from recg_core.models.near import anchor_items
from recg_core.models.recommender import SequentialRecommender
from recg_core.training.batch import Batch, BatchItems
from recg_core.training.losses import Loss


@dataclass(frozen=True)
class Objective:
    """The loss of the products of a model's states and item vectors (Eq. 5), to be minimised.

    A model whose score is the sum of an anchor's and its own has two terms. The first is the loss
    of the anchor alone on every user's last item, which is the question that another domain will
    ask; the second that of the whole score, in which the anchor is taken as given.
    """

    model: SequentialRecommender
    loss: Loss
    num_items: int  # of the source
    anchor_inputs: AnchorInputs | None

    def __call__(self, batch: Batch, items: BatchItems) -> Tensor:
        """The loss of a batch's questions, a scalar."""
        sequences_BL, predict_BL = batch.sequences_BL, batch.predict_BL
        states_PD = self.model.states(items.inputs_BLD, batch.views.inputs_BL)[predict_BL]
        positives_P = (states_PD * items.targets_PD).sum(dim=-1)
        negatives_PM = states_PD @ items.negatives_MD.T
        valid_PM = batch.targets_P[:, None] != batch.negatives_M
        if self.model.anchor is None or self.anchor_inputs is None:
            return self.loss(positives_P, negatives_PM, valid_PM, self.num_items)
        near_BL, near_BLM = training_scores(
            self.model.anchor, self.anchor_inputs, sequences_BL, batch.negatives_M
        )
        # A causal backbone predicts nothing at the first position.
        skipped = sequences_BL.shape[1] - predict_BL.shape[1]
        positives_P = positives_P + near_BL[:, skipped:][predict_BL].detach()
        negatives_PM = negatives_PM + near_BLM[:, skipped:][predict_BL].detach()
        last_BL = last_positions(sequences_BL)
        valid_BM = sequences_BL[last_BL][:, None] != batch.negatives_M
        alone = self.loss(near_BL[last_BL], near_BLM[last_BL], valid_BM, self.num_items)
        return alone + self.loss(positives_P, negatives_PM, valid_PM, self.num_items)


def create_objective(model: SequentialRecommender, domain: Domain, loss: Loss) -> Objective:
    """The objective of a model on a domain of its source."""
    if model.anchor is None:
        return Objective(model, loss, domain.num_items, None)
    text = torch.from_numpy(domain.text).to(model.device)
    # A sequence's last item is what the anchor has to find.
    counts = observed_counts(without_last(domain.sequences.training()), domain.num_items)
    inputs = AnchorInputs(anchor_items(text), counts.to(model.device))
    return Objective(model, loss, domain.num_items, inputs)
