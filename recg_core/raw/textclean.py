"""Plain text from product descriptions that were written for web pages."""

import html
import re

import polars as pl

from recg_core.raw.values import BLANK_LETTERS, canonical_text, change_where, strip_invisible

# What goes one after the other: alternatives of one pattern that begin in many places and end in
# none take time that grows with the square of a text's length.
HIDDEN = (r"(?s)<!--.*?-->", r"(?is)<script\b.*?</script\s*>", r"(?is)<style\b.*?</style\s*>")
# A name must follow "<", so that "pipes < 3 inch and > 2 inch" loses nothing.
TAGS = r"(?i)</?[a-z][^<>]*>"
LONG_NUMBER = r"&#[0-9]{100,};?"  # beyond all characters, and beyond the digits that `int` takes
CONTROLS = r"[\p{Cc}&&[^\s]]"  # white space among them is folded instead
UNEVEN_SPACE = r"\s{2,}|[^\S ]"
# What `canonical_text` may write in another way, apart from what is stripped at the end.
ODD = r"(?s)^\s*(?:\[.*\]|nan|NaN|-?[0-9.]+(?:[eE]\+[0-9]+)?)\s*$"
INVISIBLE_ENDS = rf"^[\p{{Cf}}{BLANK_LETTERS}]|[\p{{Cf}}{BLANK_LETTERS}]$"


def clean_text(texts: pl.Series) -> pl.Series:
    """Clean each text: one line of characters that a reader sees.

    Values get their one spelling (see `canonical_text`), HTML entities become characters, tags a
    space, control characters nothing, and white space of any kind and length one space. Null and
    text of invisible characters become "".

    Args:
        texts: String.

    Returns:
        String, without nulls.
    """
    texts = texts.fill_null("")
    texts = change_where(texts.str.contains(ODD), texts, canonical_text)
    marked = texts.str.contains("&", literal=True)
    texts = change_where(marked, texts, _unescape)
    for pattern in HIDDEN:
        texts = texts.str.replace_all(pattern, " ")
    texts = (
        texts.str.replace_all(TAGS, " ")
        .str.replace_all(CONTROLS, "")
        .str.replace_all(UNEVEN_SPACE, " ")
        .str.strip_chars()
    )
    return change_where(texts.str.contains(INVISIBLE_ENDS), texts, strip_invisible)


def _unescape(text: str) -> str:
    return html.unescape(re.sub(LONG_NUMBER, "\ufffd", text))
