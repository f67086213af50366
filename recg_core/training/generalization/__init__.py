"""Item-level generalization: Eq. 13 over items sampled from several domains.

Shapes: K domains, S items sampled of each, E = K S, H dimension of the text embeddings, D model
dim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.items import item_features
from recg_core.models.variant import GeneralizationConfig, VariantConfig
from recg_core.training.generalization.base import Reading
from recg_core.training.generalization.inter import INTER
from recg_core.training.generalization.intra import INTRA


@dataclass(frozen=True)
class GeneralizationLoss:
    """alpha times intra-domain diversity plus beta times inter-domain compactness."""

    intra: Reading | None
    inter: Reading | None
    alpha: float
    beta: float
    features: Sequence[Tensor]  # [n, H] of each domain
    size: int  # S

    def draw(self, generator: torch.Generator) -> Tensor:
        """Rows of S items of every domain, [K, S] on the CPU."""
        orders = [torch.randperm(len(part), generator=generator) for part in self.features]
        return torch.stack([order[: self.size] for order in orders])

    def sample(self, rows_KS: Tensor) -> Tensor:
        """What the model's items read for rows of every domain, [E, H]."""
        return torch.cat(
            [part.index_select(0, rows) for part, rows in zip(self.features, rows_KS, strict=True)]
        )

    def terms(self, items_ED: Tensor, texts_EH: Tensor) -> tuple[Tensor, Tensor]:
        """The inter- and the intra-domain loss of a sample; 0 for one that is left out."""
        samples = [flat.unflatten(0, (len(self.features), -1)) for flat in (items_ED, texts_EH)]
        zero = items_ED.new_zeros(())
        inter = zero if self.inter is None else self.inter(*samples)
        intra = zero if self.intra is None else self.intra(*samples)
        return inter, intra


def create_generalization(
    variant: VariantConfig,
    source: SourceDomains,
    pool: Mapping[str, np.ndarray],
    domain_sample: int,
    device: torch.device,
    address: str,
) -> GeneralizationLoss | None:
    """The loss of a variant over the texts of the source and the pool; None where it has none.

    Args:
        pool: text embeddings [n, H] by domain.
        domain_sample: items of each domain in a step, where it has as many.
        address: where the variant's row stands, named in errors.

    Raises:
        UserError: when the readings compare more domains than there are, or there are fewer than
            two items to a sample, which leave no pair to compare.
    """
    config = variant.generalization
    if config is None:
        return None
    domains = {domain.name: domain.text for domain in source.domains} | dict(pool)
    intra, inter = checked_readings(config, list(domains), address)
    size = min(domain_sample, *map(len, domains.values()))
    if size < 2:
        raise UserError(
            "the generalization loss compares the items of a domain with each other: "
            f"train.domain_sample ({domain_sample}) and every domain must have two at least"
        )
    alpha, beta = config.alpha or 0.0, config.beta
    if beta is None:
        beta = 0.0 if inter is None else balanced_beta(alpha, size * len(domains), len(domains))
    features = [item_features(variant.items, text).to(device) for text in domains.values()]
    return GeneralizationLoss(intra, inter, alpha, beta, features, size)


def checked_readings(
    config: GeneralizationConfig, domains: Sequence[str], address: str
) -> tuple[Reading | None, Reading | None]:
    """The readings of intra-domain diversity and of inter-domain compactness.

    Args:
        domains: those of the source and of the pool.
        address: where the variant's row stands, named in errors.

    Raises:
        UserError: on an unknown reading, keys that it does not have, or one that compares more
            domains than there are.
    """
    place = f"{address}.generalization"
    intra = None if config.intra is None else build_kind(INTRA, config.intra, f"{place}.intra")
    inter = None if config.inter is None else build_kind(INTER, config.inter, f"{place}.inter")
    for name, reading in (("intra", intra), ("inter", inter)):
        if reading is not None and len(domains) < reading.min_domains:
            raise UserError(
                f"{address}: the {name}-domain loss compares {reading.min_domains} domains at "
                f"least, but the pool and the source are {sorted(domains)}: add domains to "
                f"pool.domains, or leave {name} out of the variant"
            )
    return intra, inter


def balanced_beta(alpha: float, num_items: int, num_domains: int) -> float:
    """Eq. 14: alpha N / K^3, with N the items in the sample."""
    return alpha * num_items / num_domains**3
