"""A trained model: the one way from a model and histories to scores, for every variant."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged
from recg_core.models.anchor import anchor_items, observed_counts
from recg_core.models.card import ModelSpec, Origin, read_card
from recg_core.models.device import choose_device
from recg_core.models.items import item_features
from recg_core.models.patterns import Patterns, load_patterns
from recg_core.models.ranking.full_rank import ScoreBatch
from recg_core.models.recommender import SequentialRecommender, create_model
from recg_core.models.tensors import load_tensors, seed_path

USERS_AT_ONCE = 1024


class ItemVectors(NamedTuple):
    """A domain's items as a model sees them."""

    near_NH: Tensor | None  # for the anchor
    table: Tensor | None  # [N + 1, D], for the rest of the model where it has a say


@dataclass(frozen=True)
class TrainedModel:
    """A recommender with its patterns, and what is needed to score with it.

    Args:
        recommender: on the device that scores are computed on, in evaluation mode.
        label: names the model in errors.
        patterns: None for a variant without patterns.
    """

    recommender: SequentialRecommender
    origin: Origin
    label: str
    patterns: Patterns | None = None

    @torch.no_grad()
    def scorer(
        self,
        domain: Domain,
        history: Ragged,
        observed: Ragged,
        vectors: ItemVectors | None = None,
    ) -> ScoreBatch:
        """A function from rows of `history` to the scores [B, N] of all items of a domain.

        A model with an anchor ranks another domain by the anchor alone: what the rest of it knows
        is about the products of its source.

        Args:
            domain: its items; its interactions are not read.
            history: users' items, oldest first, as item_idx of the domain.
            observed: histories of all users of the domain, which a model with counts reads.
            vectors: the domain's `item_vectors`, where they are at hand.

        Raises:
            UserError: when the model cannot read the domain's items; see `Origin.check`.
        """
        near_NH, table = self.item_vectors(domain) if vectors is None else vectors
        parts: list[ScoreBatch] = []
        anchor = self.recommender.anchor
        if anchor is not None and near_NH is not None:
            counts_N2 = observed_counts(observed, domain.num_items).to(near_NH.device)
            parts.append(anchor.scorer(history, near_NH, counts_N2))
        if table is not None:
            users = self.user_matrix(table, history)
            parts.append(product_scorer(users, table, self.patterns))
        return parts[0] if len(parts) == 1 else lambda rows: parts[0](rows) + parts[1](rows)

    @torch.no_grad()
    def item_vectors(self, domain: Domain) -> ItemVectors:
        """What `scorer` needs of a domain's items.

        Raises:
            UserError: when the model cannot read them; see `Origin.check`.
        """
        self.origin.check(domain, self.label)
        near_NH = table = None
        if self.recommender.anchor is not None:
            text_NH = torch.from_numpy(domain.text).to(self.recommender.device)
            near_NH = anchor_items(text_NH, domain.text_mean)
        if near_NH is None or domain.name == self.origin.source:
            table = self.item_table(domain)
        return ItemVectors(near_NH, table)

    @torch.no_grad()
    def item_table(self, domain: Domain) -> Tensor:
        """Vectors [N + 1, D] of all items of a domain; row 0, the padding, is zero."""
        config = self.origin.spec.variant.items
        features = item_features(config, domain.text, domain.text_mean)
        return self.recommender.item_table(features.to(self.recommender.device))

    @torch.no_grad()
    def user_matrix(self, table: Tensor, histories: Ragged) -> Tensor:
        """User vectors [rows, D] of histories over the items of `table`, before any patterns."""
        last = self.recommender.backbone.history_length
        # Batches of like lengths, so that little is padding.
        order = np.argsort(np.minimum(histories.lengths, last), kind="stable")
        users = table.new_empty((len(histories), table.shape[1]))
        for start in range(0, len(order), USERS_AT_ONCE):
            rows = order[start : start + USERS_AT_ONCE]
            histories_BL = torch.from_numpy(histories.padded(rows, last)).to(table.device)
            found_BD = self.recommender.user_vectors(table, histories_BL)
            users[torch.from_numpy(rows).to(table.device)] = found_BD
        return users


def product_scorer(users: Tensor, table: Tensor, patterns: Patterns | None) -> ScoreBatch:
    """Eq. 5: products of user vectors [rows, D], fused with any patterns, and items [N + 1, D]."""
    fused = users if patterns is None else patterns.fuse(users)
    items_DN = table[1:].T
    return lambda rows: fused[torch.from_numpy(rows).to(fused.device)] @ items_DN


def load_trained(model: Path, patterns: Path, seed: int, device: str | None = None) -> TrainedModel:
    """Read one seed of a trained model from the folders of the train and the cluster stage.

    Args:
        device: of torch; None: the GPU where there is one.

    Raises:
        UserError: when a file is missing, or was made for another variant or other dimensions.
    """
    card, place = read_card(model), choose_device(device)
    recommender = load_recommender(card.spec, model, seed).to(place)
    config = card.spec.variant.patterns
    found = load_patterns(patterns, seed, config, recommender.backbone.dim)
    return TrainedModel(recommender, card, str(model), None if found is None else found.to(place))


def load_seeds(
    model: Path, patterns: Path, domains: Sequence[Domain], device: str | None = None
) -> dict[int, TrainedModel]:
    """All seeds of a trained model, for domains that it has to fit.

    Raises:
        UserError: as `load_trained` and `Origin.check` do.
    """
    card = read_card(model)
    for domain in domains:
        card.check(domain, str(model))
    return {seed: load_trained(model, patterns, seed, device) for seed in card.seeds}


def load_recommender(
    spec: ModelSpec,
    folder: Path,
    seed: int,
    remedy: str = "run the train stage",
    *,
    cached: bool = True,
) -> SequentialRecommender:
    """The recommender of a seed, on the CPU and in evaluation mode.

    Args:
        remedy: what makes the weights anew; see `read_sealed` for `cached`.

    Raises:
        UserError: when the weights are missing or were made for other dimensions.
    """
    path = seed_path(folder, seed)
    recommender = create_model(spec)
    try:
        recommender.load_state_dict(load_tensors(path, remedy, cached=cached))
    except RuntimeError as error:
        raise UserError(
            f"{path}: does not fit the model that the JSON beside it describes "
            f"({' '.join(str(error).split())}); {remedy}"
        ) from error
    return recommender.eval()
