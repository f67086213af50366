"""Plain text from product descriptions that were written for web pages."""

import html

import polars as pl

# A name must follow "<", so that "pipes < 3 inch and > 2 inch" loses nothing.
TAGS = r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->|</?[a-z][^<>]*>"
CONTROLS = r"[\p{Cc}&&[^\s]]"  # white space among them is folded instead
UNEVEN_SPACE = r"\s{2,}|[^\S ]"


def clean_text(texts: pl.Series) -> pl.Series:
    """Clean each text: one line of characters that a reader sees.

    Parts of a list are joined by a space, HTML entities become characters, tags a space, control
    characters nothing, and white space of any kind and length one space. Null becomes "".

    Args:
        texts: String or List(String).

    Returns:
        String, without nulls.
    """
    if texts.dtype == pl.List(pl.String):
        texts = texts.list.join(" ", ignore_nulls=True)
    texts = _unescape(texts.fill_null(""))
    return (
        texts.str.replace_all(TAGS, " ")
        .str.replace_all(CONTROLS, "")
        .str.replace_all(UNEVEN_SPACE, " ")
        .str.strip_chars()
    )


def _unescape(texts: pl.Series) -> pl.Series:
    """HTML entities to characters; Python sees only the texts that hold an ampersand."""
    positions = texts.str.contains("&", literal=True).arg_true()
    if not len(positions):
        return texts
    unescaped = [html.unescape(text) for text in texts.gather(positions)]
    return texts.scatter(positions, pl.Series(unescaped, dtype=pl.String))
