"""What there is to train: a run for each seed of each model, known by a digest of its inputs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import recg_core
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file, sha256_json
from recg_core.base.params import Params
from recg_core.domains.pool import Pool
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.backbone_code import backbone_sha256
from recg_core.models.card import ModelSpec, spec_of
from recg_core.training.config import TrainConfig, check_seeds
from recg_core.training.tuned import model_settings

CODE = ("domains", "models", "training")  # packages that decide what training gives


@dataclass(frozen=True)
class Run:
    """The training of one seed of one model: what decides it, but for the data themselves."""

    spec: ModelSpec
    config: TrainConfig
    seed: int
    source: str  # its name
    address: str  # of the variant's row
    device: str | None  # of torch; None: the GPU where there is one
    data_sha256: str
    state: Path  # keeps the run while it is unfinished, and its end

    def __str__(self) -> str:
        return f"{self.spec.backbone} of {self.address} on {self.source}, seed {self.seed}"

    def digest(self) -> str:
        """Of all that decides the result: settings, data and the code that trains."""
        root = Path(str(recg_core.__file__)).parent
        code = [sha256_file(path) for name in CODE for path in sorted((root / name).rglob("*.py"))]
        settings = [asdict(self.spec), asdict(self.config), self.seed]
        return sha256_json([settings, self.data_sha256, code, backbone_sha256(self.spec.backbone)])


@dataclass(frozen=True)
class Plan:
    """What is trained of one variant on one source."""

    source: SourceDomains
    pool: dict[str, np.ndarray]  # text embeddings [n, H] by domain; empty where none are sampled
    runs: list[Run]  # the seeds of a model stand together


def plan_runs(
    source: SourceDomains,
    pool: Pool,
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    work: Path,
    address: str = "variant",
    device: str | None = None,
    tuned: Mapping[str, TrainConfig] | None = None,
) -> Plan:
    """The runs of models on a source.

    Args:
        pool: item texts for the generalization loss.
        specs: models of different backbones.
        work: a folder that keeps the state of every run.
        address: where the variant's row stands, named in errors.
        device: of torch; None: the GPU where there is one.
        tuned: by backbone, what takes the place of `config` for it; but for `threads`.

    Raises:
        UserError: when the source has no interactions, or another encoder made the pool.
    """
    check_seeds(seeds)
    source.require_interactions()
    sampled = any(spec.variant.generalization is not None for spec in specs)
    if sampled and pool.fingerprint != source.encoder_fingerprint:
        raise UserError(
            f"the pool was made by another encoder than the embeddings of {source.name}; run the "
            "pool stage again"
        )
    vectors = pool.vectors if sampled else {}
    data = _data_sha256(source, vectors)
    runs = []
    for spec in specs:
        own = replace((tuned or {}).get(spec.backbone, config), threads=config.threads)
        for seed in seeds:
            state = work / f"{spec.backbone}-seed-{seed}.safetensors"
            runs.append(Run(spec, own, seed, source.name, address, device, data, state))
    return Plan(source, vectors, runs)


def plan_variant(
    params: Params,
    variant: str,
    backbones: Mapping[str, Mapping[str, Any]],
    source: SourceDomains,
    pool: Pool,
    work: Path,
) -> Plan:
    """The runs of a variant on a source, as the params have them.

    Args:
        backbones: what the backbones stage wrote.
        work: holds the folders that keep the states.

    Raises:
        UserError: on a mistake in a row, and as `plan_runs` does.
    """
    found = {
        name: model_settings(params, name, of["row"], variant) for name, of in backbones.items()
    }
    return plan_runs(
        source,
        pool,
        [spec_of(name, of.backbone, of.variant, source) for name, of in found.items()],
        params.build(TrainConfig, "train"),
        params.get("seeds", list[int]),
        work=work / "train" / variant / source.name,
        address=f"variants.{variant}",
        tuned={name: of.train for name, of in found.items()},
    )


def domain_names(source: SourceDomains) -> list[str]:
    """The names of a source's domains, in its order."""
    return [domain.name for domain in source.domains]


def _data_sha256(source: SourceDomains, pool: Mapping[str, np.ndarray]) -> str:
    arrays = []
    for domain in source.domains:
        users = domain.sequences
        arrays += [users.items.values, users.items.offsets]
        arrays += [users.train_length, users.valid_position, domain.text]
    digest = hashlib.sha256(repr([domain_names(source), sorted(pool)]).encode())
    for array in (*arrays, *pool.values()):
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
