"""Training on the source alone: Eq. 15, early stopping, resumption.

Shapes: B users, L positions, E items sampled for the generalization loss, H dimension of the text
embeddings, D model dim.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain, training_rows
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.anchor import LogCounts, observed_counts
from recg_core.models.card import ModelSpec, Origin
from recg_core.models.items import TextItems, item_features
from recg_core.models.near import NearItems, UnitItems
from recg_core.models.ranking.full_rank import validation_ndcg
from recg_core.models.recommender import SequentialRecommender, create_model
from recg_core.models.rows import Rows
from recg_core.models.trained import ItemVectors, TrainedModel
from recg_core.models.variant import VariantConfig
from recg_core.training.adam import Adam
from recg_core.training.batch import (
    Batch,
    draw_batch,
    enlarged,
    length_bucketed_batches,
    mixed,
    on_device,
    project_items,
)
from recg_core.training.checkpoints import Progress, load_progress, save_progress
from recg_core.training.config import TrainConfig
from recg_core.training.generalization import create_generalization
from recg_core.training.losses import LOSSES, Loss
from recg_core.training.objective import Objective, create_objective
from recg_core.training.recorded import RecordedSteps, rounded

log = logging.getLogger(__name__)

SAVE_SECONDS = 10.0  # the state of a run is written after an epoch when the last one is this old


@dataclass(frozen=True)
class Trained:
    """The result of one seed."""

    model: SequentialRecommender
    best_epoch: int
    valid_ndcg: float  # NDCG@10 of the best epoch on all validation items
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Part:
    """What training reads of one domain of the source."""

    domain: Domain
    sequences: Ragged
    rows: np.ndarray  # of the sequences with two items
    valid: Holdout
    features: Tensor  # what the model's items read
    objective: Objective
    near: NearItems | None  # of a model with an anchor, and what that has observed before `valid`
    evidence: LogCounts | None


class Trainer:
    """The training of one seed.

    A step is about users and items of one domain; the steps of the source's domains are mixed, and
    a domain has as many as its users fill. Epochs are judged by the mean over domains.

    Args:
        source: the only domains whose interactions are read.
        pool: text embeddings [n, H] by domain, for the generalization loss.
        seed: decides initial parameters, order, negatives and dropout.
        address: where the variant's row stands, named in errors.

    Raises:
        UserError: when no user of a domain has two training items.
    """

    def __init__(
        self,
        source: SourceDomains,
        pool: Mapping[str, np.ndarray],
        spec: ModelSpec,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        address: str = "variant",
    ) -> None:
        torch.manual_seed(seed)
        model = create_model(spec)
        if isinstance(model.items, TextItems):
            squares = [np.mean(np.square(domain.text)) for domain in source.domains]
            model.items.feature_rms.fill_(float(np.sqrt(np.mean(squares))))
        self.config = config
        self.seed = seed
        self.model = model.to(device)
        self.device = model.device
        self.label = f"{spec.backbone} {source.name} seed {seed}"
        variant = spec.variant
        loss = build_kind(LOSSES, variant.loss, f"{address}.loss")
        self.parts = [_part(domain, model, spec.variant, loss) for domain in source.domains]
        self.num_users = sum(len(part.rows) for part in self.parts)
        self.generalization = create_generalization(
            variant, source, pool, config.domain_sample, self.device, address
        )
        origin = Origin(spec, source.name, source.encoder_fingerprint)
        self.trained = TrainedModel(model, origin, self.label)
        self.optimizer = Adam(model.parameter_groups(config.learning_rate))
        self.records_steps = self.device.type == "cuda"
        self.steps = [self._runner(part) for part in self.parts]

    def fit(self, progress_path: Path | None = None, run: str = "") -> Trained:
        """Run epochs until validation has not improved for `patience` of them.

        Args:
            progress_path: where the state of an unfinished run is kept; None keeps none.
            run: a digest of all inputs; only the same run goes on from `progress_path`.

        Returns:
            The model as it was after its best epoch.

        Raises:
            UserError: when the loss is not finite.
        """
        progress = Progress()
        if progress_path is not None:
            progress = load_progress(progress_path, run, self.model, self.optimizer)
        if progress.epoch:
            log.info("%s resumes after epoch %d", self.label, progress.epoch)
        saved = time.monotonic()
        bar: tqdm[Any] = tqdm(
            total=self.config.max_epochs * self.num_users,
            initial=progress.epoch * self.num_users,
            desc=self.label,
            unit="user",
            unit_scale=True,
            disable=None,
        )
        with bar:
            while not progress.ended(self.config):
                self._advance(progress, bar)
                due = progress.ended(self.config) or time.monotonic() - saved >= SAVE_SECONDS
                if progress_path is not None and due:
                    save_progress(progress_path, run, progress, self.model, self.optimizer)
                    saved = time.monotonic()
        self.model.load_state_dict(progress.best_state)
        # What is reported is of all validation users, and not of those alone that stopped it.
        most = max(len(part.valid.users) for part in self.parts)
        judged_all = most <= self.config.valid_users
        ndcg = progress.best_ndcg if judged_all else self._validate(most)
        return Trained(self.model.cpu().eval(), progress.best_epoch, ndcg, progress.curve)

    def _advance(self, progress: Progress, bar: "tqdm[Any]") -> None:
        """One epoch and its validation."""
        started = time.monotonic()
        epoch = progress.epoch + 1
        losses = self._epoch(epoch, bar)
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.label}: the loss is not finite in epoch {epoch} ({losses}); "
                "lower train.learning_rate or the weights of the variant's generalization"
            )
        ndcg = self._validate(self.config.valid_users)
        progress.epoch = epoch
        progress.curve.append({"seed": self.seed, "epoch": epoch, **losses, "valid_ndcg@10": ndcg})
        if ndcg > progress.best_ndcg:
            progress.best_epoch, progress.best_ndcg = epoch, ndcg
            state = self.model.state_dict()
            progress.best_state = {name: tensor.clone() for name, tensor in state.items()}
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
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        torch.manual_seed(int(rng.integers(2**62)))
        self.model.train()
        sums, steps = torch.zeros(3, device=self.device), 0
        for number, rows in self._batches(epoch, rng):
            sums += self.steps[number](self._draw(self.parts[number], rows, generator))
            steps += 1
            bar.update(len(rows))
        recommendation, inter, intra = (sums / steps).tolist()
        loss = recommendation
        if self.generalization is not None:
            loss += self.generalization.beta * inter + self.generalization.alpha * intra
        return {"loss": loss, "recommendation": recommendation, "inter": inter, "intra": intra}

    def _batches(self, epoch: int, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        """The number of a domain and rows of its sequences, those of all domains once."""
        size = self.config.batch_size
        batches = [
            length_bucketed_batches(part.sequences.lengths[part.rows], size, rng)
            for part in self.parts
        ]
        counts = [math.ceil(len(part.rows) / size) for part in self.parts]
        for number in mixed(counts, [self.seed, epoch, 1]):  # another stream than that of `rng`
            yield number, self.parts[number].rows[next(batches[number])]

    def _draw(self, part: Part, rows: np.ndarray, generator: torch.Generator) -> list[Tensor]:
        """All that is random in a step but dropout, on the CPU: the rows [K, S] of a generalization
        loss, and the tensors of the users' `Batch`."""
        general, backbone = self.generalization, self.model.backbone
        sampled = torch.empty(0, dtype=torch.int64) if general is None else general.draw(generator)
        padded = torch.from_numpy(part.sequences.padded(rows, backbone.training_length))
        num_items, num_negatives = part.domain.num_items, self.config.negatives
        batch = draw_batch(backbone, padded, num_items, num_negatives, generator)
        if self.records_steps:
            batch = enlarged(batch, rounded, backbone.training_length)
        return [sampled, *batch]

    def _runner(self, part: Part) -> Callable[[Sequence[Tensor]], Tensor]:
        """Takes what `_draw` gives, runs a step of a domain and returns its losses."""
        step = partial(self._step, part)
        if self.records_steps:
            return RecordedSteps(step, self.device)
        return lambda tensors: step(on_device(tensors, self.device))

    def _step(self, part: Part, tensors: Sequence[Tensor]) -> Tensor:
        """One update; returns the three terms [recommendation, inter, intra].

        Nothing in it waits for a device.

        Args:
            tensors: what `_draw` gives, on the device.
        """
        sampled_KS, *of_batch = tensors
        batch, general = Batch(*of_batch), self.generalization
        texts_EH = part.features[:0] if general is None else general.sample(sampled_KS)
        items = project_items(self.model, part.features, batch, texts_EH)
        total = recommendation = part.objective(batch, items)
        inter = intra = recommendation.new_zeros(())
        if general is not None:
            inter, intra = general.terms(items.more_ED, texts_EH)
            total = recommendation + general.alpha * intra + general.beta * inter
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return torch.stack([recommendation, inter, intra]).detach()

    @torch.inference_mode()
    def _validate(self, num_users: int) -> float:
        """NDCG@10 on validation items of up to `num_users` of each domain, the domains' mean."""
        self.model.eval()
        found = []
        for part in self.parts:
            holdout = part.valid.sample(num_users)
            vectors = ItemVectors(part.near, Rows([self.model.item_table(part.features)]))
            scorer = self.trained.scorer_of(vectors, part.evidence, holdout.history)
            num_items = part.domain.num_items
            found.append(validation_ndcg(scorer, holdout, num_items, label=self.label))
        return float(np.mean(found))


def _part(domain: Domain, model: SequentialRecommender, variant: VariantConfig, loss: Loss) -> Part:
    """What the training of a model reads of a domain.

    Raises:
        UserError: when no user has two training items.
    """
    sequences, rows = training_rows(domain)
    features = item_features(variant.items, domain.text).to(model.device)
    objective = create_objective(model, domain, loss)
    near = evidence = None
    if objective.anchor_inputs is not None:
        near = UnitItems(Rows([objective.anchor_inputs.items_NH[1:]]))
        counts_N2 = observed_counts(domain.sequences.observed("valid"), domain.num_items)
        evidence = LogCounts.of(counts_N2.to(model.device))
    valid = domain.sequences.holdout("valid")
    return Part(domain, sequences, rows, valid, features, objective, near, evidence)
