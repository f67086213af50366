"""The state of an unfinished training run, so that an interrupted one goes on where it stopped."""

from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from recg_core.base.files import atomic_path
from recg_core.training.adam import Adam


@dataclass
class Progress:
    """What training knows after `epoch` epochs."""

    epoch: int = 0
    best_epoch: int = 0
    best_ndcg: float = -1.0
    curve: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    best_state: dict[str, Tensor] = field(default_factory=dict)


def save_progress(
    path: Path, run: str, progress: Progress, model: nn.Module, optimizer: Adam
) -> None:
    """Write everything that the next epoch needs, atomically.

    Args:
        run: a digest of all inputs of the run; only the same run may go on from this file.
    """
    states = {"model": model.state_dict(), "optimizer": optimizer.state()}
    with atomic_path(path) as temporary:
        torch.save({"run": run, "progress": vars(progress), **states}, temporary)


def load_progress(path: Path, run: str, model: nn.Module, optimizer: Adam) -> Progress:
    """Restore `model` and `optimizer` and return the progress: none when `path` has no such run."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, EOFError, RuntimeError, UnpicklingError):
        return Progress()
    if saved["run"] != run:
        return Progress()
    model.load_state_dict(saved["model"])
    for tensor, value in zip(optimizer.state(), saved["optimizer"], strict=True):
        tensor.copy_(value)
    return Progress(**saved["progress"])
