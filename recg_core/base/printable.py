"""Text of any origin as it may be shown: one line, in the order and with the characters it has."""

import unicodedata

# They change the order of what follows them, or are no characters.
_HIDDEN = frozenset(
    "\ufffe\uffff\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def printable(text: str) -> str:
    """`text` on one line, with U+FFFD for every character that controls a terminal or a page.

    These are control characters, marks that reverse the direction of writing, and what XML or UTF-8
    cannot hold: halves of surrogate pairs, U+FFFE and U+FFFF.
    """
    return "".join(map(_shown, text)) if not (text.isascii() and text.isprintable()) else text


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    hidden = character in _HIDDEN or unicodedata.category(character) in ("Cc", "Cs")
    return "\ufffd" if hidden else character
