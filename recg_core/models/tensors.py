"""The tensors of a seed on disk: its weights, or its patterns."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.files import write_bytes


def seed_path(folder: Path, seed: int) -> Path:
    """Where a seed's tensors lie in the folder of a model or of its patterns."""
    return folder / f"seed-{seed}.safetensors"


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors atomically."""
    write_bytes(path, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))


def load_tensors(path: Path, stage: str) -> dict[str, Tensor]:
    """Read tensors onto the CPU.

    Raises:
        UserError: when the file is missing or damaged, naming the stage that writes it.
    """
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(f"{path}: not readable ({error}); run the {stage} stage again") from error
