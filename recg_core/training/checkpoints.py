"""The state of an unfinished training run, so that an interrupted one goes on where it stopped."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from recg_core.base.errors import UserError
from recg_core.base.tensors import read_tensors, write_tensors
from recg_core.training.adam import Adam
from recg_core.training.config import TrainConfig


@dataclass
class Progress:
    """What training knows after `epoch` epochs."""

    epoch: int = 0
    best_epoch: int = 0
    best_ndcg: float = -1.0
    curve: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def ended(self, config: TrainConfig) -> bool:
        """Whether there is no epoch left to train."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= config.max_epochs or waited >= config.patience


def save_progress(
    path: Path, run: str, progress: Progress, model: nn.Module, optimizer: Adam
) -> None:
    """Write everything that the next epoch needs, atomically.

    Args:
        run: a digest of all inputs of the run; only the same run may go on from this file.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best_state.items()}
    tensors |= {f"optimizer.{number}": each for number, each in enumerate(optimizer.state())}
    numbers = {name: value for name, value in vars(progress).items() if name != "best_state"}
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    write_tensors(path, arrays, {"run": run, **numbers})


def load_progress(path: Path, run: str, model: nn.Module, optimizer: Adam) -> Progress:
    """Restore `model` and `optimizer` and return the progress: none when `path` has no such run."""
    progress, tensors = _read(path, run)
    if progress.epoch:
        model.load_state_dict(_with_prefix(tensors, "model."))
        for number, tensor in enumerate(optimizer.state()):
            tensor.copy_(tensors[f"optimizer.{number}"])
    return progress


def has_ended(path: Path, run: str, config: TrainConfig) -> bool:
    """Whether `path` has the end of this run."""
    progress, _ = _read(path, run)
    return progress.ended(config)


def _read(path: Path, run: str) -> tuple[Progress, dict[str, Tensor]]:
    """The progress of this run and all its tensors; none when `path` is of another or damaged."""
    try:
        arrays, numbers = read_tensors(path, "training starts anew")
    except UserError:
        return Progress(), {}
    if numbers.pop("run") != run:
        return Progress(), {}
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return Progress(best_state=_with_prefix(tensors, "best."), **numbers), tensors


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
