"""The tensors of a seed on disk: its weights, or its patterns."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from recg_core.base.tensors import read_tensors, write_tensors


def seed_path(folder: Path, seed: int) -> Path:
    """Where a seed's tensors lie in the folder of a model or of its patterns."""
    return folder / f"seed-{seed}.safetensors"


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors atomically."""
    write_tensors(path, {name: tensor.cpu().numpy() for name, tensor in tensors.items()})


def load_tensors(path: Path, remedy: str, *, cached: bool = True) -> dict[str, Tensor]:
    """Read tensors onto the CPU; see `read_tensors`.

    Raises:
        UserError: when the file is missing or damaged; it ends with `remedy`.
    """
    arrays, _ = read_tensors(path, remedy, cached=cached)
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
