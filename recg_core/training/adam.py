"""Adam (Kingma & Ba 2015) by the functional interface of torch.

Its class computes the same, but constructing one loads torch's compiler, which takes as long as
many a training run of this project's demo.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Moments(NamedTuple):
    """What Adam remembers of a parameter."""

    first: Tensor
    second: Tensor
    step: Tensor


class Adam:
    """Adam over groups of parameters, each with a learning rate of its own.

    Args:
        fused: one kernel for all parameters of a group, which is faster for many of them and
            rounds otherwise.
    """

    def __init__(
        self, groups: Sequence[tuple[list[nn.Parameter], float]], *, fused: bool = True
    ) -> None:
        self._groups = groups
        self._fused = fused
        self._moments: dict[Tensor, Moments] = {
            parameter: Moments(
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
                torch.zeros((), dtype=torch.float32, device=parameter.device),
            )
            for parameters, _ in groups
            for parameter in parameters
        }

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._moments:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients; parameters without one stay as they are."""
        for parameters, rate in self._groups:
            moved: list[Tensor] = [each for each in parameters if each.grad is not None]
            moments = [self._moments[parameter] for parameter in moved]
            adam(
                moved,
                [parameter.grad for parameter in moved if parameter.grad is not None],
                [moment.first for moment in moments],
                [moment.second for moment in moments],
                [],
                [moment.step for moment in moments],
                foreach=False,
                fused=self._fused,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> list[Tensor]:
        """All moments and step counts, which a copy of this optimizer may be given."""
        return [tensor for moments in self._moments.values() for tensor in moments]
