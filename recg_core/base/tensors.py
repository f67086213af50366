"""Tensors on disk: sealed safetensors with a header, equal bytes for equal content."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed, write_sealed
from recg_core.base.seal import UNSEALED

_KEY = "content"  # one key only: safetensors writes several in no fixed order


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], header: Any = None) -> None:
    """Write arrays of any shapes, and a header that JSON can hold, atomically."""
    metadata = {_KEY: json.dumps({"header": header, "seal": UNSEALED})}
    whole = {name: np.array(values, order="C") for name, values in tensors.items()}
    write_sealed(path, save(whole, metadata=metadata))


def read_tensors(
    path: Path, remedy: str, *, cached: bool = True
) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays and the header that `write_tensors` wrote; see `read_sealed` for `cached`.

    Raises:
        UserError: when the file is missing, damaged, or another; it ends with `remedy`.
    """
    content = read_sealed(path, remedy, cached=cached)
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"][_KEY]
        return tensors, json.loads(metadata)["header"]
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path}: is not as this project writes it ({error}); {remedy}") from error
