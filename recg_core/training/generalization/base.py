"""What the readings of the generalization loss share.

Shapes: K domains, S items sampled of each, D model dim, H dimension of the text embeddings.
"""

from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Reading(Protocol):
    """A reading of one of the paper's two losses; its settings are keys of the variant's row."""

    min_domains: ClassVar[int]  # fewer leave nothing to learn from

    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """A scalar to be minimised.

        Args:
            items_KSD: S items of each of K domains, any scale.
            texts_KSH: what the items were made of.
        """
        ...


def check_temperature(tau: float) -> None:
    """Refuse a temperature that is not above 0 with a ValueError."""
    if tau <= 0:
        raise ValueError(f"tau must be above 0, got {tau}")


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) along the last dimension; -inf logits count as 0."""
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0.0)).sum(dim=-1)


def center_cosines(items_KSD: Tensor) -> Tensor:
    """Cosine of each item to the centre of each domain, Eq. 8 on the sample, [K, S, K]."""
    centers_KD = F.normalize(items_KSD.mean(dim=1), dim=-1)
    return F.normalize(items_KSD, dim=-1) @ centers_KD.T


def own_domain(items_KSD: Tensor) -> Tensor:
    """True where a centre is that of the item's own domain, [K, 1, K]."""
    return torch.eye(len(items_KSD), dtype=torch.bool, device=items_KSD.device)[:, None, :]


def item_cosines(items_KSD: Tensor) -> Tensor:
    """Cosine of each pair of items of one domain, [K, S, S]."""
    directions_KSD = F.normalize(items_KSD, dim=-1)
    return directions_KSD @ directions_KSD.transpose(1, 2)
