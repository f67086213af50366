"""A trained model: the one way from a model and histories to scores, for every variant."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.files import write_bytes
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged
from recg_core.models.anchor import anchor_items, observed_counts
from recg_core.models.card import MODEL_FILE, ModelSpec, Origin, read_card
from recg_core.models.device import choose_device
from recg_core.models.items import item_features
from recg_core.models.patterns import Patterns, load_patterns
from recg_core.models.ranking.scores import ScoreBatch, dot_scorer, sum_scorer
from recg_core.models.recommender import SequentialRecommender, create_model, user_matrix


@dataclass(frozen=True)
class TrainedModel:
    """A recommender with its patterns, and what is needed to score with it.

    Args:
        recommender: on the device that scores are computed on, in evaluation mode.
        patterns: None for a variant without patterns.
    """

    recommender: SequentialRecommender
    origin: Origin
    patterns: Patterns | None = None

    @torch.no_grad()
    def scorer(self, domain: Domain, history: Ragged, observed: Ragged) -> ScoreBatch:
        """A function from rows of `history` to the scores [B, N] of all items of a domain.

        A model with an anchor ranks another domain by the anchor alone: what the rest of it knows
        is about the products of its source.

        Args:
            domain: its items; its interactions are not read.
            history: users' items, oldest first, as item_idx of the domain.
            observed: histories of all users of the domain, which a model with counts reads.

        Raises:
            UserError: when the model cannot read the domain's items; see `Origin.check`.
        """
        self.origin.check(domain)
        anchor, device = self.recommender.anchor, self.recommender.device
        scorers = []
        if anchor is not None:
            items_NH = anchor_items(torch.from_numpy(domain.text).to(device))
            counts_N2 = observed_counts(observed, domain.num_items).to(device)
            scorers.append(anchor.scorer(history, items_NH, counts_N2))
        if anchor is None or domain.name == self.origin.source:
            table = self.item_table(domain)
            scorers.append(product_scorer(self.user_matrix(table, history), table, self.patterns))
        return torch.no_grad()(sum_scorer(scorers))

    @torch.no_grad()
    def item_table(self, domain: Domain) -> Tensor:
        """Vectors [N + 1, D] of all items of a domain; row 0, the padding, is zero."""
        features = item_features(self.origin.spec.variant.items, domain.text)
        return self.recommender.item_table(features.to(self.recommender.device))

    def user_matrix(self, table: Tensor, history: Ragged) -> Tensor:
        """User vectors [rows, D] of histories over the items of `table`, before any patterns."""
        return user_matrix(self.recommender, table, history)


def product_scorer(users: Tensor, table: Tensor, patterns: Patterns | None) -> ScoreBatch:
    """Products of user vectors, fused with the patterns if there are any, and item vectors."""
    return dot_scorer(users if patterns is None else patterns.fuse(users), table)


def load_trained(model: Path, patterns: Path, seed: int, device: str | None = None) -> TrainedModel:
    """Read one seed of a trained model from the folders of the train and the cluster stage.

    Args:
        device: of torch; None: the GPU where there is one.

    Raises:
        UserError: when a file is missing, or was made for another variant or other dimensions.
    """
    origin, place = read_card(model).origin(model), choose_device(device)
    recommender = load_recommender(origin.spec, model, seed).to(place)
    config = origin.spec.variant.patterns
    found = load_patterns(patterns, seed, config, recommender.backbone.dim)
    return TrainedModel(recommender, origin, None if found is None else found.to(place))


def load_seeds(
    model: Path, patterns: Path, domains: Sequence[Domain], device: str | None = None
) -> dict[int, TrainedModel]:
    """All seeds of a trained model, for domains that it has to fit.

    Raises:
        UserError: as `load_trained` and `Origin.check` do.
    """
    card = read_card(model)
    for domain in domains:
        card.origin(model).check(domain)
    return {seed: load_trained(model, patterns, seed, device) for seed in card.seeds}


def weights_path(folder: Path, seed: int) -> Path:
    """Where a seed's weights lie in a model's folder."""
    return folder / f"seed-{seed}.safetensors"


def save_weights(recommender: SequentialRecommender, folder: Path, seed: int) -> None:
    """Write the model's parameters atomically."""
    tensors = {name: tensor.contiguous() for name, tensor in recommender.state_dict().items()}
    write_bytes(weights_path(folder, seed), save(tensors))


def load_recommender(spec: ModelSpec, folder: Path, seed: int) -> SequentialRecommender:
    """The recommender of a seed, on the CPU and in evaluation mode.

    Raises:
        UserError: when the weights are missing or were made for other dimensions.
    """
    path = weights_path(folder, seed)
    recommender = create_model(spec)
    try:
        recommender.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: not readable ({error}); run the train stage again") from error
    except RuntimeError as error:
        raise UserError(
            f"{path}: does not fit the model that {MODEL_FILE} describes ({error}); "
            "run the train stage again"
        ) from error
    return recommender.eval()
