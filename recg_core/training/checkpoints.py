"""The state of an unfinished training run, so that an interrupted one goes on where it stopped."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from recg_core.base.files import write_bytes
from recg_core.training.adam import Adam


@dataclass
class Progress:
    """What training knows after `epoch` epochs."""

    epoch: int
    best_epoch: int
    best_ndcg: float
    curve: list[dict[str, float]]  # one row an epoch
    best_state: dict[str, Tensor]


def save_progress(
    path: Path,
    run: str,
    progress: Progress,
    model: nn.Module,
    optimizer: Adam,
) -> None:
    """Write everything that the next epoch needs, atomically.

    Args:
        run: a digest of all inputs of the run; only the same run may go on from this file.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best_state.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state_dict().items()}
    header = {
        "run": run,
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_ndcg": progress.best_ndcg,
        "curve": progress.curve,
    }
    # A copy of each, since tensors of the model and the best state may share memory.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(copies, metadata={"progress": json.dumps(header)}))


def load_progress(path: Path, run: str, model: nn.Module, optimizer: Adam) -> Progress | None:
    """Restore `model` and `optimizer` and return the progress; None when `path` has no such run."""
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()["progress"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None
    if header.pop("run") != run:
        return None
    model.load_state_dict(_with_prefix(tensors, "model."))
    optimizer.load_state_dict(_with_prefix(tensors, "optimizer."))
    return Progress(best_state=_with_prefix(tensors, "best."), **header)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
