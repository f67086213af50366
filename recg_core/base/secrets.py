"""Addresses without what may be secret in them, as they may stand in messages, logs and files."""

import re
from typing import Any

HIDDEN = "***"
# One slash, too: a path made of an address has lost the other.
_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]+:/{1,2})([^\s/?#]*)(\S*)")


def without_secrets(text: str) -> str:
    """`text` whose addresses have lost user, password, and all after a `?` or `#`.

    Which keys of a query are secret (`token`, `X-Amz-Signature`) is not guessed: none is shown.
    """
    return _ADDRESS.sub(_shown, text)


def row_without_secrets(value: Any) -> Any:
    """The same for every string in nested mappings and lists."""
    if isinstance(value, dict):
        return {key: row_without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [row_without_secrets(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def _shown(match: re.Match[str]) -> str:
    scheme, authority, rest = match.groups()
    if ":" in authority and "@" not in authority and "@" in rest:
        return scheme + HIDDEN  # a password with an unquoted / ? or #: nobody knows where it ends
    path, mark, _ = re.match(r"([^?#]*)([?#]?)(.*)", rest).groups()  # type: ignore[union-attr]
    return scheme + authority.rpartition("@")[2] + path + (mark and mark + HIDDEN)
