"""Recommendation losses: what a model learns from the scores of a step."""

from collections.abc import Callable

from recg_core.training.losses.base import Loss
from recg_core.training.losses.bpr import BPR
from recg_core.training.losses.softmax import SampledSoftmax

LOSSES: dict[str, Callable[..., Loss]] = {
    "bpr": BPR,
    "softmax": SampledSoftmax,
}

__all__ = ["LOSSES", "Loss"]
