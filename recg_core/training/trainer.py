"""Training on the source domain alone: Eq. 15, early stopping, resumption.

Shapes: B users, L positions, P predicted positions, M negatives, U distinct items of a batch,
K domains, S items sampled of each, E = K S, H dimension of the text embeddings, D model dim.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from recg_core.base.config import require_positive
from recg_core.base.errors import UserError
from recg_core.domains.sequences import Holdout, Ragged, without_last
from recg_core.embeddings.domain import Domain
from recg_core.models.anchor import (
    AnchorInputs,
    anchor_items,
    anchor_scores,
    last_positions,
    observed_counts,
)
from recg_core.models.model import (
    ModelSpec,
    SequentialRecommender,
    TextItems,
    VariantConfig,
    create_model,
    dot_scorer,
    model_features,
    sum_scorer,
    user_matrix,
)
from recg_core.ranking.full_rank import validation_ndcg
from recg_core.training.batches import length_bucketed_batches
from recg_core.training.checkpoints import Progress, load_progress, save_progress
from recg_core.training.losses import (
    RECOMMENDATION_LOSSES,
    Recommendation,
    balanced_beta,
    inter_domain_loss,
    intra_domain_loss,
)

log = logging.getLogger(__name__)

ANCHOR_RATE = 5.0  # learning rate of the anchor relative to that of the other parameters
SAVE_SECONDS = 10.0  # the state of a run is written after an epoch when the last one is this old


@dataclass(frozen=True)
class TrainConfig:
    """The `train` section of the params."""

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int  # epochs without a better validation NDCG@10 before training stops
    negatives: int  # items drawn for a batch and shared by its positions
    domain_sample: int  # items of each domain in the generalization loss of a step
    valid_users: int  # users of the source that validation ranks for
    threads: int  # of each seed on a CPU; a small model gains nothing from a second one

    def __post_init__(self) -> None:
        require_positive(self)


@dataclass(frozen=True)
class Trained:
    """The result of one seed."""

    model: SequentialRecommender
    best_epoch: int
    best_ndcg: float
    curve: list[dict[str, float]]


def generalization_domains(
    source: Domain, pool: Mapping[str, np.ndarray], variant: VariantConfig, domain_sample: int
) -> dict[str, np.ndarray]:
    """The text embeddings that the generalization loss samples: the pool's and the source's.

    Raises:
        UserError: with fewer than three domains, where Eq. 10 is constant, or fewer than two
            items to a sample, which leave no pair to compare.
    """
    if not variant.generalizes:
        return {}
    domains = {source.name: source.text} | dict(pool)
    if variant.inter != "off" and len(domains) < 3:
        raise UserError(
            f"the inter-domain loss compares an item with at least two other domains, but the pool "
            f"and the source are {sorted(domains)}: add domains to pool.domains, or set "
            "inter: off in the variant"
        )
    if min(domain_sample, *map(len, domains.values())) < 2:
        raise UserError(
            "the generalization loss compares the items of a domain with each other: "
            f"train.domain_sample ({domain_sample}) and every domain must have two at least"
        )
    return domains


def train_seed(
    source: Domain,
    pool: Mapping[str, np.ndarray],
    spec: ModelSpec,
    config: TrainConfig,
    seed: int,
    *,
    progress_path: Path | None = None,
    run: str = "",
) -> Trained:
    """Train one model and return it as it was after its best epoch.

    Args:
        source: the only domain whose interactions are read.
        pool: text embeddings [n, H] by domain, for the generalization loss.
        seed: decides initial parameters, order, negatives and dropout.
        progress_path: where the state of an unfinished run is kept; None keeps none.
        run: a digest of all inputs; only the same run goes on from `progress_path`.

    Raises:
        UserError: when no user has two training items, or the loss is not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = create_model(spec)
    if isinstance(model.items, TextItems):
        model.items.feature_rms.fill_(float(np.sqrt(np.mean(np.square(source.text)))))
    trainer = Trainer(source, pool, spec, config, seed, model.to(device))
    return trainer.fit(progress_path, run)


class Trainer:
    """The training loop of one seed."""

    def __init__(
        self,
        source: Domain,
        pool: Mapping[str, np.ndarray],
        spec: ModelSpec,
        config: TrainConfig,
        seed: int,
        model: SequentialRecommender,
    ) -> None:
        self.config = config
        self.seed = seed
        self.spec = spec
        self.model = model
        self.device = next(model.parameters()).device
        self.label = f"{spec.backbone} {source.name} seed {seed}"
        self.sequences = source.sequences.training()
        self.rows = np.flatnonzero(self.sequences.lengths >= 2)
        if not len(self.rows):
            raise UserError(f"{source.name}: no user has two training items; nothing to learn from")
        self.features = model_features(spec.variant, source.text).to(self.device)
        domains = generalization_domains(source, pool, spec.variant, config.domain_sample)
        self.domains = [
            model_features(spec.variant, text).to(self.device) for text in domains.values()
        ]
        self.holdout = _subset(source.sequences.holdout("valid"), config.valid_users)
        self.anchored: AnchorInputs | None = None
        if model.anchor is not None:
            text = torch.from_numpy(source.text).to(self.device)
            counts = observed_counts(without_last(self.sequences), source.num_items)
            self.anchored = AnchorInputs(anchor_items(text), counts.to(self.device))
        self.optimizer = torch.optim.Adam(
            _parameter_groups(model, config.learning_rate), lr=config.learning_rate, fused=True
        )

    def fit(self, progress_path: Path | None, run: str) -> Trained:
        """Run epochs until validation has not improved for `patience` of them."""
        progress = None
        if progress_path is not None:
            progress = load_progress(progress_path, run, self.model, self.optimizer)
        if progress is None:
            progress = Progress(0, 0, -1.0, [], self._state())
        else:
            log.info("%s resumes after epoch %d", self.label, progress.epoch)
        saved = time.monotonic()
        total = self.config.max_epochs * len(self.rows)
        bar: tqdm[Any] = tqdm(
            total=total,
            initial=progress.epoch * len(self.rows),
            desc=self.label,
            unit="user",
            unit_scale=True,
            disable=None,
        )
        with bar:
            while not self._finished(progress):
                self._advance(progress, bar)
                due = self._finished(progress) or time.monotonic() - saved >= SAVE_SECONDS
                if progress_path is not None and due:
                    save_progress(progress_path, run, progress, self.model, self.optimizer)
                    saved = time.monotonic()
        self.model.load_state_dict(progress.best_state)
        return Trained(
            self.model.cpu().eval(), progress.best_epoch, progress.best_ndcg, progress.curve
        )

    def _finished(self, progress: Progress) -> bool:
        waited = progress.epoch - progress.best_epoch
        return progress.epoch >= self.config.max_epochs or waited >= self.config.patience

    def _advance(self, progress: Progress, bar: "tqdm[Any]") -> None:
        """One epoch and its validation."""
        started = time.monotonic()
        epoch = progress.epoch + 1
        losses = self._epoch(epoch, bar)
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.label}: the loss is not finite in epoch {epoch} ({losses}); "
                "lower train.learning_rate or the variant's alpha and beta"
            )
        ndcg = self._validate()
        progress.epoch = epoch
        progress.curve.append({"epoch": epoch, **losses, "valid_ndcg@10": ndcg})
        if ndcg > progress.best_ndcg:
            progress.best_epoch, progress.best_ndcg = epoch, ndcg
            progress.best_state = self._state()
        log.info(
            "%s epoch %d loss %.4f valid_ndcg@10 %.4f %.1f s",
            self.label,
            epoch,
            losses["loss"],
            ndcg,
            time.monotonic() - started,
        )

    def _epoch(self, epoch: int, bar: "tqdm[Any]") -> dict[str, float]:
        # Everything random in an epoch follows from (seed, epoch), so a resumed run repeats it.
        rng = np.random.default_rng([self.seed, epoch])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))
        self.model.train()
        lengths = self.sequences.lengths[self.rows]
        sums, steps = torch.zeros(3, device=self.device), 0
        last = self.model.backbone.training_length
        for batch in length_bucketed_batches(lengths, self.config.batch_size, rng):
            padded = self.sequences.padded(self.rows[batch], last)
            sums += self._step(torch.from_numpy(padded).to(self.device), generator)
            steps += 1
            bar.update(len(batch))
        recommendation, inter, intra = (sums / steps).tolist()
        alpha, beta = self._weights()
        loss = recommendation + beta * inter + alpha * intra
        return {"loss": loss, "recommendation": recommendation, "inter": inter, "intra": intra}

    def _step(self, sequences_BL: Tensor, generator: torch.Generator) -> Tensor:
        """One update; returns the three terms [recommendation, inter, intra]."""
        variant = self.spec.variant
        sampled_EH = self._domain_features(generator) if self.domains else self.features[:0]
        recommendation, sampled_ED = recommendation_loss(
            self.model,
            self.features,
            sequences_BL,
            self.config.negatives,
            variant.loss,
            generator,
            sampled_EH,
            self.anchored,
        )
        inter = intra = recommendation.new_zeros(())
        total = recommendation
        if self.domains:
            items_KSD = sampled_ED.view(len(self.domains), -1, sampled_ED.shape[1])
            inter = inter_domain_loss(items_KSD, variant.inter, variant.tau)
            texts_KSH = sampled_EH.view(len(self.domains), -1, sampled_EH.shape[1])
            intra = intra_domain_loss(items_KSD, variant.intra, variant.tau, texts_KSH)
            alpha, beta = self._weights()
            total = recommendation + alpha * intra + beta * inter
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        return torch.stack([recommendation, inter, intra]).detach()

    def _weights(self) -> tuple[float, float]:
        """alpha and beta of Eq. 13."""
        variant = self.spec.variant
        if not self.domains or variant.beta is not None:
            return variant.alpha, variant.beta or 0.0
        num_items = self._sample_size() * len(self.domains)
        return variant.alpha, balanced_beta(variant.alpha, num_items, len(self.domains))

    def _sample_size(self) -> int:
        return min(self.config.domain_sample, *(len(text) for text in self.domains))

    def _domain_features(self, generator: torch.Generator) -> Tensor:
        """Text embeddings [K S, H] of items drawn from every domain."""
        size = self._sample_size()
        return torch.cat(
            [
                text[torch.randperm(len(text), generator=generator, device=self.device)[:size]]
                for text in self.domains
            ]
        )

    @torch.inference_mode()
    def _validate(self) -> float:
        self.model.eval()
        table = self.model.item_table(self.features)
        users = user_matrix(self.model, table, self.holdout.history)
        scorer = dot_scorer(users, table)
        if self.model.anchor is not None and self.anchored is not None:
            near = self.model.anchor.scorer(self.holdout.history, *self.anchored)
            scorer = sum_scorer(near, scorer)
        return validation_ndcg(scorer, self.holdout, len(table) - 1, label=self.label)

    def _state(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.model.state_dict().items()}


def recommendation_loss(
    model: SequentialRecommender,
    features: Tensor,
    sequences_BL: Tensor,
    num_negatives: int,
    loss: Recommendation,
    generator: torch.Generator,
    more_features_EH: Tensor,
    anchored: AnchorInputs | None = None,
) -> tuple[Tensor, Tensor]:
    """Eq. 6 (or sampled softmax) over all predicted positions of a batch.

    Each distinct item of the batch is projected once; the rest of the catalogue never. Negatives
    are uniform over the catalogue and shared by all positions.

    Args:
        features: what the model's items read, one row an item of the source.
        sequences_BL: item_idx, padded with 0 on the right.
        more_features_EH: further items to project in the same product, possibly none.

    With an anchor the loss has two terms: that of the anchor alone on every user's last item, which
    is the question that another domain will ask, and that of the whole score, in which the anchor
    is taken as given.

    Returns:
        The loss, and the vectors [E, D] of the further items.
    """
    views = model.backbone.training_views(sequences_BL, generator)
    predict_BL = views.targets_BL > 0
    targets_P = views.targets_BL[predict_BL]
    negatives_M = torch.randint(
        1, len(features) + 1, (num_negatives,), generator=generator, device=features.device
    )
    inputs = views.inputs_BL.clamp(min=0).flatten()
    padding = inputs.new_zeros(1)
    distinct_U, rows = torch.unique(
        torch.cat([padding, inputs, targets_P, negatives_M]), return_inverse=True
    )
    batch_features = features.index_select(0, distinct_U[1:] - 1)
    vectors = model.item_vectors(torch.cat([batch_features, more_features_EH]))
    vectors_UD, more_ED = vectors.split([len(batch_features), len(more_features_EH)])
    table_UD = F.pad(vectors_UD, (0, 0, 1, 0))  # row 0 is the padding
    sizes = [1, len(inputs), len(targets_P), num_negatives]
    _, input_rows, target_rows, negative_rows = rows.split(sizes)
    items_BLD = F.embedding(input_rows.view_as(views.inputs_BL), table_UD)
    states_PD = model.states(items_BLD, views.inputs_BL)[predict_BL]
    positives_P = (states_PD * F.embedding(target_rows, table_UD)).sum(dim=-1)
    negatives_PM = states_PD @ F.embedding(negative_rows, table_UD).T
    valid_PM = targets_P[:, None] != negatives_M
    if model.anchor is None or anchored is None:
        return RECOMMENDATION_LOSSES[loss](positives_P, negatives_PM, valid_PM), more_ED
    near_P, near_PM = anchor_scores(model.anchor, anchored, sequences_BL, predict_BL, negatives_M)
    whole = RECOMMENDATION_LOSSES[loss](
        positives_P + near_P.detach(), negatives_PM + near_PM.detach(), valid_PM
    )
    last_BL = last_positions(sequences_BL)
    near_B, near_BM = anchor_scores(model.anchor, anchored, sequences_BL, last_BL, negatives_M)
    alone = RECOMMENDATION_LOSSES[loss](
        near_B, near_BM, sequences_BL[last_BL][:, None] != negatives_M
    )
    return alone + whole, more_ED


def _parameter_groups(model: SequentialRecommender, learning_rate: float) -> list[dict[str, Any]]:
    """The anchor's few parameters, whose gradients agree, take larger steps than the others."""
    anchor = [] if model.anchor is None else list(model.anchor.parameters())
    own = {id(parameter) for parameter in anchor}
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if id(p) not in own]}]
    if anchor:
        groups.append({"params": anchor, "lr": ANCHOR_RATE * learning_rate})
    return groups


def _subset(holdout: Holdout, size: int) -> Holdout:
    """At most `size` users, always the same ones."""
    if len(holdout.users) <= size:
        return holdout
    rows = np.sort(np.random.default_rng(0).permutation(len(holdout.users))[:size])
    history: Ragged = holdout.history.take(rows)
    return Holdout(holdout.users[rows], history, holdout.target[rows])
