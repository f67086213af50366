"""A digest inside the file that it is of, so that a damaged file is never read as a whole one.

Any format that keeps a string as it is can carry one: JSON in a value, safetensors and Parquet in
their metadata. The digest is that of the file with zeros in its place.
"""

import hashlib
import mmap
import re
from pathlib import Path

from recg_core.base.errors import UserError

UNSEALED = "seal-" + "0" * 64
_SEAL = re.compile(rb"seal-[0-9a-f]{64}")


def seal(content: bytes) -> bytes:
    """`content`, in which `UNSEALED` stands, with the seal in its last place."""
    start = content.rindex(UNSEALED.encode())
    after = memoryview(content)[start + len(UNSEALED) :]
    return b"".join([memoryview(content)[:start], _seal_of(content, start), after])


def seal_file(path: Path) -> None:
    """`seal` the content of a file, which may be more than memory holds."""
    with path.open("r+b") as stream:
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.rfind(UNSEALED.encode())
            made = _seal_of(content, start)
        stream.seek(start)
        stream.write(made)


def check_seal(content: bytes, label: str, remedy: str) -> None:
    """Refuse content that is not as it was sealed.

    Args:
        label: the file, named in the error.
        remedy: what to do about it.

    Raises:
        UserError: when the seal is missing or is of other content.
    """
    for found in list(_SEAL.finditer(content))[-1:]:
        if found.group() == _seal_of(content, found.start()):
            return
    raise UserError(f"{label}: is damaged, or not of this version of the project; {remedy}")


def _seal_of(content: bytes | mmap.mmap, start: int) -> bytes:
    """The seal of content that has one, or the place for it, at `start`."""
    digest = hashlib.sha256(memoryview(content)[:start])
    digest.update(UNSEALED.encode())
    digest.update(memoryview(content)[start + len(UNSEALED) :])
    return f"seal-{digest.hexdigest()}".encode()
