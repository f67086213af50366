"""Items as texts: the rendering of a template, the only thing that an encoder sees."""

import hashlib
import re
import string

import polars as pl

from recg_core.base.errors import UserError


def check_placeholders(template: str) -> list[str]:
    """Refuse a template that is not plain text with placeholders like `{title}`.

    Returns:
        The names of the placeholders, each once.

    Raises:
        UserError: on a decorated placeholder, a stray brace, or no placeholder.
    """
    valid = "placeholders are {title}, {features}, {description} and the names of further texts"
    try:
        found = string.Formatter().parse(template)
        parts = [
            (name, spec or conversion) for _, name, spec, conversion in found if name is not None
        ]
    except ValueError as error:
        raise UserError(f"template {template!r}: {error}; {valid}") from error
    for name, is_decorated in parts:
        if not name.isidentifier() or is_decorated:
            raise UserError(f"template {template!r}: unknown placeholder {{{name}}}; {valid}")
    if not parts:
        raise UserError(f"template {template!r}: has no placeholder; {valid}")
    return list(dict.fromkeys(name for name, _ in parts))


def render_texts(items: pl.DataFrame, template: str) -> list[str]:
    """Render every item of an ITEMS frame, in its order.

    A missing part is an empty string. White space inside a part folds to single spaces; line
    breaks of the template stay; spaces that an empty part leaves behind fold as well.

    Raises:
        UserError: when the template is invalid or names a text that the items do not have.
    """
    names = check_placeholders(template)
    texts = [name for name in items.columns if name not in ("item_idx", "item_id")]
    if unknown := sorted(set(names) - set(texts)):
        raise UserError(
            f"template {template!r}: the items have no text {unknown}; theirs are {texts}, and a "
            "domain's `texts:` names further ones"
        )
    columns = [[" ".join(text.split()) for text in items[name].fill_null("")] for name in names]
    return [
        _fold(template.format(**dict(zip(names, row, strict=True))))
        for row in zip(*columns, strict=True)
    ]


def text_sha256(text: str) -> str:
    """The SHA-256 of a rendered text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def _fold(text: str) -> str:
    return re.sub(r" ?\n ?", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
