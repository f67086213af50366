"""A digest inside the file that it is of, so that a damaged file is never read as a whole one.

Any format that keeps a string as it is can carry one: JSON in a value, safetensors and Parquet in
their metadata. The digest is that of the file with zeros in its place.
"""

import hashlib
import re

from recg_core.base.errors import UserError

UNSEALED = "seal-" + "0" * 64
_SEAL = re.compile(rb"seal-[0-9a-f]{64}")


def seal(content: bytes) -> bytes:
    """`content`, in which `UNSEALED` stands, with the seal in its last place."""
    start = content.rindex(UNSEALED.encode())
    digest = hashlib.sha256(content).hexdigest()
    return content[:start] + f"seal-{digest}".encode() + content[start + len(UNSEALED) :]


def check_seal(content: bytes, label: str, remedy: str) -> None:
    """Refuse content that is not as it was sealed.

    Args:
        label: the file, named in the error.
        remedy: what to do about it.

    Raises:
        UserError: when the seal is missing or is of other content.
    """
    for found in list(_SEAL.finditer(content))[-1:]:
        blank = content[: found.start()] + UNSEALED.encode() + content[found.end() :]
        if seal(blank) == content:
            return
    raise UserError(f"{label}: is damaged or no file that this project wrote; {remedy}")
