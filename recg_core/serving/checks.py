"""What callers of a catalogue give, refused in a sentence where it cannot be meant."""

import operator
from collections.abc import Iterable
from typing import Any

from recg_core.base.errors import UserError


def checked_ids(given: Any, label: str) -> list[str]:
    """Ids as text, of a list or another iterable of them.

    Raises:
        UserError: when it is none, or a single text, whose letters nobody means.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UserError(f"{label}: expected a list of ids, got {type(given).__name__} {given!r}")
    return [str(each) for each in given]


def checked_k(k: Any) -> int:
    """How many items are wanted.

    Raises:
        UserError: when it is no whole number from 1 on.
    """
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if number < 1:
        raise UserError(f"k: expected 1 or more, got {k!r}")
    return number
