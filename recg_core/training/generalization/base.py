"""What the readings of the generalization loss share.

Shapes: K domains, S items sampled of each, D model dim, H dimension of the text embeddings.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


class Reading(ABC):
    """A reading of one of the paper's two losses; its settings are keys of the variant's row."""

    min_domains: ClassVar[int] = 1  # fewer leave nothing to learn from

    @abstractmethod
    def __call__(self, items_KSD: Tensor, texts_KSH: Tensor) -> Tensor:
        """A scalar to be minimised.

        Args:
            items_KSD: S items of each of K domains, any scale.
            texts_KSH: what the items were made of.
        """


@dataclass(frozen=True)
class EntropyReading(Reading):
    """A reading of the entropy of a softmax of cosines.

    Args:
        tau: temperature of Eq. 10 or Eq. 12, above 0.
    """

    tau: float

    def __post_init__(self) -> None:
        if self.tau <= 0:
            raise ValueError(f"tau must be above 0, got {self.tau}")


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) along the last dimension; -inf logits count as 0."""
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0.0)).sum(dim=-1)


def center_cosines(items_KSD: Tensor, *, own: float) -> Tensor:
    """Cosine of each item to the centre of each domain, Eq. 8 on the sample, [K, S, K].

    Args:
        own: stands where the centre is that of the item's own domain.
    """
    centers_KD = F.normalize(items_KSD.mean(dim=1), dim=-1)
    itself = torch.eye(len(items_KSD), dtype=torch.bool, device=items_KSD.device)
    cosines_KSK = F.normalize(items_KSD, dim=-1) @ centers_KD.T
    return cosines_KSK.masked_fill(itself[:, None, :], own)


def item_cosines(items_KSD: Tensor) -> Tensor:
    """Cosine of each pair of items of one domain, [K, S, S]."""
    directions_KSD = F.normalize(items_KSD, dim=-1)
    return directions_KSD @ directions_KSD.transpose(1, 2)
