"""A trained model: the one way from a model and histories to scores, for every variant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged
from recg_core.models.anchor import LogCounts, observed_counts
from recg_core.models.card import ModelSpec, Origin, read_card
from recg_core.models.device import choose_device
from recg_core.models.items import item_features
from recg_core.models.near import NearItems, near_items, with_texts
from recg_core.models.patterns import Patterns, load_patterns
from recg_core.models.recommender import ITEMS_AT_ONCE, SequentialRecommender, create_model
from recg_core.models.rows import Items, Rows, Scorer, combined, joined
from recg_core.models.tensors import load_tensors, seed_path

if TYPE_CHECKING:
    import scipy.sparse as sp

    from recg_core.models.in_context.context import Context

USERS_AT_ONCE = 1024


class ItemVectors(NamedTuple):
    """A domain's items as a model sees them."""

    near: NearItems | None  # for similarity
    table: Rows | None  # [N + 1, D] in memory, for the rest of the model where it has a say


# Of what has been observed in a domain; None where a model reads nothing of it.
Evidence: TypeAlias = "LogCounts | Context | None"


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

    def scorer(self, domain: Domain, history: Ragged, observed: Ragged) -> Scorer:
        """The scores of a domain's items for rows of `history`.

        Args:
            domain: its items and the kind of its split; its interactions are not read.
            history: users' items, oldest first, as item_idx of the domain.
            observed: histories of all users of the domain, which a model with counts reads.

        Raises:
            UserError: when the model cannot read the domain's items; see `Origin.check`.
        """
        vectors = self.item_vectors(domain)
        evidence = self.evidence(vectors, observed, leaves_one_out=domain.sequences.leaves_one_out)
        return self.scorer_of(vectors, evidence, history)

    @torch.no_grad()
    def scorer_of(self, vectors: ItemVectors, evidence: Evidence, history: Ragged) -> Scorer:
        """`scorer` from what the model has read of the items and of the observed histories.

        A model that goes by similarity ranks another domain by that alone: what the rest of it
        knows is about the products of its source.

        Args:
            vectors: `item_vectors`, or nearly the same but shorter.
            evidence: `evidence` for as many items.
        """
        near, table = vectors
        parts: list[Scorer] = []
        anchor, in_context = self.recommender.anchor, self.recommender.in_context
        if anchor is not None and near is not None and isinstance(evidence, LogCounts):
            parts.append(anchor.scorer(history, near, evidence))
        elif in_context is not None and near is not None and evidence is not None:
            context = replace(cast("Context", evidence), items=near)
            parts.append(in_context.scorer(context, history))
        if table is not None:
            users = self.user_matrix(table, history)
            if in_context is not None:
                users *= in_context.state_weight
            parts.append(product_scorer(users, table, self.patterns))
        if len(parts) == 1:
            return parts[0]

        return combined(parts, lambda rows: lambda items, first, second: first + second)

    def evidence(
        self,
        vectors: ItemVectors,
        observed: Ragged,
        alike: "sp.csr_matrix | None" = None,
        *,
        leaves_one_out: bool = False,
    ) -> Evidence:
        """What the model reads of the histories of all users; None where it reads nothing.

        It is the same for all models of a variant.

        Args:
            alike: `like_texts` of the items, where they are at hand; in-context models read them.
            leaves_one_out: whether items are asked for that others' later ones surround. So are the
                last observed ones, and in-context models try on them what evidence is worth.
        """
        near = vectors.near
        if near is None:
            return None
        if self.recommender.in_context is not None:
            # Imported here: other variants need not wait for scipy.
            from recg_core.models.in_context.context import read_context
            from recg_core.models.in_context.trial import read_domain

            read = read_domain if leaves_one_out else read_context
            return read(near, observed, alike)
        return LogCounts.of(observed_counts(observed, len(near)).to(self.recommender.device))

    def more_evidence(self, evidence: Evidence, vectors: ItemVectors) -> Evidence:
        """Evidence about the items of `vectors`, of which it knew the first alone.

        Nobody has met the others yet.
        """
        near = vectors.near
        if near is None or evidence is None or isinstance(evidence, LogCounts):
            return evidence
        return evidence.with_items(near)

    @torch.no_grad()
    def item_vectors(self, domain: Domain) -> ItemVectors:
        """What the model reads of a domain's items.

        Raises:
            UserError: when the model cannot read them; see `Origin.check`.
        """
        self.origin.check(domain, self.label)
        near = table = None
        if self.origin.spec.variant.by_similarity:
            near = near_items(domain.text, domain.text_mean, self.recommender.device)
        if near is None or domain.name in self.origin.domains:
            table = Rows([self.item_table(domain)])
        return ItemVectors(near, table)

    @torch.no_grad()
    def more_items(self, vectors: ItemVectors, domain: Domain) -> ItemVectors:
        """The vectors of items and then those of a domain's, of which the same mean is taken."""
        near, table = vectors
        if near is not None:
            assert domain.text_mean is not None
            near = with_texts(near, domain.text, domain.text_mean)
        if table is not None:
            table = table.with_more(Rows([self.item_table(domain)[1:]]))
        return ItemVectors(near, table)

    @torch.no_grad()
    def item_table(self, domain: Domain) -> Tensor:
        """Vectors [N + 1, D] of all items of a domain; row 0, the padding, is zero."""
        config, text = self.origin.spec.variant.items, domain.text
        # What is mapped from a file as halves is read a part at a time.
        size = ITEMS_AT_ONCE if text.dtype == np.float16 else len(text)
        tables = []
        for start in range(0, len(text), size):
            part_nH = text[start : start + size].astype(np.float32, copy=False)
            features = item_features(config, part_nH, domain.text_mean)
            tables.append(self.recommender.item_table(features.to(self.recommender.device)))
        return torch.cat([tables[0], *(table[1:] for table in tables[1:])])

    @torch.no_grad()
    def user_matrix(self, table: Tensor | Rows, histories: Ragged) -> Tensor:
        """User vectors [rows, D] of histories over the items of `table`, before any patterns."""
        last = self.recommender.backbone.history_length
        # Batches of like lengths, so that little is padding.
        order = np.argsort(np.minimum(histories.lengths, last), kind="stable")
        users = torch.empty((len(histories), table.shape[1]), device=table.device)
        for start in range(0, len(order), USERS_AT_ONCE):
            rows = order[start : start + USERS_AT_ONCE]
            histories_BL = torch.from_numpy(histories.padded(rows, last)).to(table.device)
            found_BD = self.recommender.user_vectors(table, histories_BL)
            users[torch.from_numpy(rows).to(table.device)] = found_BD
        return users


def product_scorer(users: Tensor, table: Tensor | Rows, patterns: Patterns | None) -> Scorer:
    """Eq. 5: products of user vectors [rows, D], fused with any patterns, and items [N + 1, D]."""
    fused = users if patterns is None else patterns.fuse(users)
    vectors = Rows([table]) if isinstance(table, Tensor) else table

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        users_BD = fused[torch.from_numpy(rows).to(fused.device)]

        def score(items: Items) -> Tensor:
            if isinstance(items, slice):
                start, stop, _ = items.indices(len(vectors) - 1)
                items = slice(start + 1, stop + 1)
            else:
                items = items + 1
            return joined([users_BD @ block.T for block in vectors.blocks(items, len(vectors))])

        return score

    return Scorer(of)


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
