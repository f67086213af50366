"""The recommendation objective of a step (Eq. 6), of a model alone or with a similarity anchor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recg_core.domains.domain import Domain
from recg_core.domains.sequences import without_last
from recg_core.models.anchor import AnchorInputs, observed_counts, training_scores
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
    num_items: int  # of the domain
    anchor_inputs: AnchorInputs | None

    def __call__(self, batch: Batch, items: BatchItems) -> Tensor:
        """The loss of a batch's questions, a scalar."""
        states_BLD = self.model.states(items.inputs_BLD, batch.inputs_BL)
        states_PD = _at(states_BLD, batch.state_P)
        positives_P = (states_PD * items.targets_PD).sum(dim=-1)
        negatives_PM = states_PD @ items.negatives_MD.T
        targets_P1 = batch.targets_P[:, None]
        valid_PM = (targets_P1 != batch.negatives_M) & (targets_P1 > 0)
        if self.model.anchor is None or self.anchor_inputs is None:
            return self.loss(positives_P, negatives_PM, valid_PM, self.num_items)
        near_BL, near_BLM = training_scores(
            self.model.anchor, self.anchor_inputs, batch.sequences_BL, batch.negatives_M
        )
        positives_P = positives_P + _at(near_BL, batch.asked_P).detach()
        negatives_PM = negatives_PM + _at(near_BLM, batch.asked_P).detach()
        valid_BM = _at(batch.sequences_BL, batch.last_B)[:, None] != batch.negatives_M
        near_B, near_BM = _at(near_BL, batch.last_B), _at(near_BLM, batch.last_B)
        alone = self.loss(near_B, near_BM, valid_BM, self.num_items)
        return alone + self.loss(positives_P, negatives_PM, valid_PM, self.num_items)


def _at(values_BLX: Tensor, place_P: Tensor) -> Tensor:
    """The values [P, ...] at positions that are counted row by row."""
    return values_BLX.flatten(0, 1).index_select(0, place_P)


def create_objective(model: SequentialRecommender, domain: Domain, loss: Loss) -> Objective:
    """The objective of a model on a domain of its source."""
    if model.anchor is None:
        return Objective(model, loss, domain.num_items, None)
    text = torch.from_numpy(domain.text).to(model.device)
    # A sequence's last item is what the anchor has to find.
    counts = observed_counts(without_last(domain.sequences.training()), domain.num_items)
    inputs = AnchorInputs.of(anchor_items(text), counts.to(model.device))
    return Objective(model, loss, domain.num_items, inputs)
