"""Items as texts: the rendering of a template, the only thing that an encoder sees."""

import hashlib
import re
import string

import polars as pl

from recg_core.base.errors import UserError

FIELDS = ("title", "features", "description")


def check_placeholders(template: str) -> None:
    """Refuse a template that is not plain text with `{title}`, `{features}`, `{description}`.

    Raises:
        UserError: on an unknown or decorated placeholder, a stray brace, or no placeholder.
    """
    valid = f"valid placeholders are {', '.join(f'{{{name}}}' for name in FIELDS)}"
    try:
        parts = [part for _, *part in string.Formatter().parse(template) if part[0] is not None]
    except ValueError as error:
        raise UserError(f"template {template!r}: {error}; {valid}") from error
    for name, specification, conversion in parts:
        if name not in FIELDS or specification or conversion:
            raise UserError(f"template {template!r}: unknown placeholder {{{name}}}; {valid}")
    if not parts:
        raise UserError(f"template {template!r}: has no placeholder; {valid}")


def render_texts(items: pl.DataFrame, template: str) -> list[str]:
    """Render every item of an ITEMS frame, in its order.

    A missing part is an empty string. White space inside a part folds to single spaces; line
    breaks of the template stay; spaces that an empty part leaves behind fold as well.

    Raises:
        UserError: when the template is invalid.
    """
    check_placeholders(template)
    columns = [items[name].fill_null("").to_list() for name in FIELDS]
    return [
        _fold(template.format(**{n: " ".join(p.split()) for n, p in zip(FIELDS, row, strict=True)}))
        for row in zip(*columns, strict=True)
    ]


def text_sha256(text: str) -> str:
    """The SHA-256 of a rendered text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _fold(text: str) -> str:
    return re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
