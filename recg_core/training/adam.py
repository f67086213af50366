"""Adam (Kingma & Ba 2015) by the functional interface of torch.

Its class computes the same, but constructing one loads torch's compiler, which takes as long as
many a training run of this project's demo.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


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
        self._state = [[_start(parameter) for parameter in group] for group, _ in groups]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameters, _ in self._groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients; parameters without one stay as they are."""
        for (parameters, rate), states in zip(self._groups, self._state, strict=True):
            moved = [
                (parameter, parameter.grad, state)
                for parameter, state in zip(parameters, states, strict=True)
                if parameter.grad is not None
            ]
            if moved:
                adam(
                    [parameter for parameter, _, _ in moved],
                    [gradient for _, gradient, _ in moved],
                    [state["exp_avg"] for _, _, state in moved],
                    [state["exp_avg_sq"] for _, _, state in moved],
                    [],
                    [state["step"] for _, _, state in moved],
                    foreach=False,
                    fused=self._fused,
                    amsgrad=False,
                    beta1=BETAS[0],
                    beta2=BETAS[1],
                    lr=rate,
                    weight_decay=0.0,
                    eps=EPSILON,
                    maximize=False,
                )

    def state_dict(self) -> dict[str, Tensor]:
        """All moments and step counts by name."""
        flat = [state for states in self._state for state in states]
        return {
            f"{i}.{name}": tensor for i, state in enumerate(flat) for name, tensor in state.items()
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take the moments and step counts of `state_dict`."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(tensors[name])


def _start(parameter: nn.Parameter) -> dict[str, Tensor]:
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
