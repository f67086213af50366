"""A large matrix on disk: sealed safetensors, written block by block and mapped into memory.

The format is that of `recg_core.base.tensors`, which can read it too but reads it as a whole.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from recg_core.base.access import reading
from recg_core.base.errors import UserError
from recg_core.base.files import atomic_path
from recg_core.base.seal import UNSEALED

NAME = "rows"
_KEY = "content"
_BLOCK_BYTES = 1 << 22


def write_rows(path: Path, shape: tuple[int, int], blocks: Iterable[np.ndarray]) -> None:
    """Write a float16 matrix atomically, of which one block is in memory at a time.

    Args:
        shape: of all blocks, one above the other.

    Raises:
        UserError: when it cannot be written.
        ValueError: when the blocks are not of that shape.
    """
    num_rows, dim = shape
    size = 2 * num_rows * dim
    metadata = {_KEY: json.dumps({"header": None, "seal": UNSEALED})}
    entry = {"dtype": "F16", "shape": [num_rows, dim], "data_offsets": [0, size]}
    head = json.dumps({"__metadata__": metadata, NAME: entry}).encode()
    head += b" " * (-len(head) % 8)  # so that the numbers are aligned
    head = len(head).to_bytes(8, "little") + head
    digest = hashlib.sha256(head)
    with atomic_path(path) as temporary, temporary.open("r+b") as stream:
        stream.write(head)
        for block in blocks:
            content = np.asarray(block, dtype="<f2").tobytes()
            stream.write(content)
            digest.update(content)
        if stream.tell() != len(head) + size:
            raise ValueError(f"{path}: the blocks do not make a matrix of {shape}")
        stream.seek(head.index(UNSEALED.encode()))
        stream.write(f"seal-{digest.hexdigest()}".encode())


def map_rows(path: Path, remedy: str) -> np.ndarray:
    """The matrix that `write_rows` wrote, mapped; the file is read once to check its seal.

    Raises:
        UserError: when it is missing or damaged; it ends with `remedy`.
    """
    with reading(path, remedy), path.open("rb") as stream:
        first = stream.read(8)
        head = stream.read(min(int.from_bytes(first, "little"), _BLOCK_BYTES))
        try:
            content = json.loads(head)
            entry = content[NAME]
            shape, dtype = tuple(entry["shape"]), np.dtype({"F16": "<f2"}[entry["dtype"]])
            seal = json.loads(content["__metadata__"][_KEY])["seal"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is no matrix of this project; {remedy}") from error
        digest = hashlib.sha256(first + head.replace(seal.encode(), UNSEALED.encode()))
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    if seal != f"seal-{digest.hexdigest()}":
        raise UserError(f"{path}: is damaged, or not of this version of the project; {remedy}")
    # Copy on write, since torch warns of what cannot be written; nobody does.
    return np.memmap(path, dtype, "c", offset=8 + len(head), shape=shape)
