"""Recommendation losses (Eq. 6) and the readings of the generalization loss (Eqs. 8-14).

Shapes: P predicted positions, M negatives, K domains, S items sampled of each, D model dim.
Every function returns a scalar to be minimised.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Recommendation = Literal["bpr", "softmax"]
Inter = Literal["entropy_max", "entropy_min", "centers", "centered", "off"]
Intra = Literal["entropy", "uniformity", "isometry", "off"]


def bpr_loss(positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor) -> Tensor:
    """Bayesian personalized ranking: mean of -log sigmoid(positive - negative).

    LLM-RecG Eq. 6, as a mean so that the learning rate does not depend on the batch.

    Args:
        positives_P: score of the item that came next, at each position.
        negatives_PM: scores of the sampled items at the same positions.
        valid_PM: False where a sampled item is the positive itself; such pairs do not count.
    """
    losses_PM = F.softplus(negatives_PM - positives_P[:, None])
    return (losses_PM * valid_PM).sum() / valid_PM.sum().clamp(min=1)


def sampled_softmax_loss(positives_P: Tensor, negatives_PM: Tensor, valid_PM: Tensor) -> Tensor:
    """Cross entropy of the item that came next among itself and the sampled items.

    Arguments as in `bpr_loss`. With uniform negatives the correction of Jean et al. (2015) is a
    constant and cancels.
    """
    negatives_PM = negatives_PM.masked_fill(~valid_PM, float("-inf"))
    logits = torch.cat([positives_P[:, None], negatives_PM], dim=1)
    return (torch.logsumexp(logits, dim=1) - positives_P).mean()


RECOMMENDATION_LOSSES = {"bpr": bpr_loss, "softmax": sampled_softmax_loss}


def inter_domain_loss(items_KSD: Tensor, reading: Inter, tau: float) -> Tensor:
    """Inter-domain compactness: how far items are from the centres of the other domains.

    Readings (with two domains Q is 1 and both entropies are constant, so they need K >= 3):
        entropy_max: mean of sum_d Q log Q, Eqs. 9-10 as printed; minimising it spreads Q.
        entropy_min: its negative, the paper's text; minimising it picks one other domain.
        centers: mean of 1 - cos(item, centre) over the other domains.
        centered: no loss; `model_features` subtracts each domain's mean, so that all centres agree.

    Args:
        items_KSD: S items of each of K domains, any scale.
        tau: temperature of Eq. 10; `centers` has none.
    """
    if reading in ("off", "centered"):
        return items_KSD.new_zeros(())
    num_domains = len(items_KSD)
    centers_KD = F.normalize(items_KSD.mean(dim=1), dim=-1)  # Eq. 8 on the sample
    cosine_KSK = F.normalize(items_KSD, dim=-1) @ centers_KD.T
    own_K1K = torch.eye(num_domains, dtype=torch.bool, device=items_KSD.device)[:, None, :]
    if reading == "centers":
        others = (1 - cosine_KSK).masked_fill(own_K1K, 0.0).sum(dim=-1) / (num_domains - 1)
        return others.mean()
    logits_KSK = (cosine_KSK / tau).masked_fill(own_K1K, float("-inf"))
    negative_entropy = -_entropy(logits_KSK).mean()
    return negative_entropy if reading == "entropy_max" else -negative_entropy


def intra_domain_loss(
    items_KSD: Tensor, reading: Intra, tau: float, texts_KSH: Tensor | None = None
) -> Tensor:
    """Intra-domain diversity: how alike the items of one domain are.

    Readings:
        entropy: -L_intra of Eqs. 11-12 as printed (the item itself included), summed over domains.
            Its minimum is total collapse, where every row of P is uniform.
        uniformity: log mean exp(-2 |x - y|^2) over pairs of distinct items on the unit sphere,
            averaged over domains (Wang & Isola 2020).
        isometry: mean squared difference of the items' cosines from those of their texts, over
            pairs of one domain: items stay as diverse as their texts are, in every domain.

    Args:
        items_KSD: S items of each of K domains, any scale.
        tau: temperature of Eq. 12; the other readings have none.
        texts_KSH: what the items were made of; `isometry` alone reads it.
    """
    if reading == "off":
        return items_KSD.new_zeros(())
    directions_KSD = F.normalize(items_KSD, dim=-1)
    cosine_KSS = directions_KSD @ directions_KSD.transpose(1, 2)
    if reading == "isometry":
        if texts_KSH is None:
            raise ValueError("the isometry reading compares items with their texts")
        text_KSH = F.normalize(texts_KSH, dim=-1)
        return (cosine_KSS - text_KSH @ text_KSH.transpose(1, 2)).square().mean()
    if reading == "entropy":
        return -_entropy(cosine_KSS / tau).mean(dim=1).sum()
    num_items = cosine_KSS.shape[1]
    itself = torch.eye(num_items, dtype=torch.bool, device=items_KSD.device)
    # |x - y|^2 = 2 - 2 cos(x, y) on the unit sphere
    log_kernel = (-4 * (1 - cosine_KSS)).masked_fill(itself, float("-inf"))
    log_pairs = math.log(num_items * (num_items - 1))
    return torch.logsumexp(log_kernel.flatten(1), dim=1).mean() - log_pairs


def balanced_beta(alpha: float, num_items: int, num_domains: int) -> float:
    """Eq. 14: alpha N / K^3, with N the items in the sample."""
    return alpha * num_items / num_domains**3


def _entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) along the last dimension; -inf logits count as 0."""
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0.0)).sum(dim=-1)
