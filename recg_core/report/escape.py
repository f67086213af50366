"""Text of any origin, harmless in each format of the report: one function a format.

Names, captions and item texts may hold tags, formulas, commands or control characters. Each
function takes plain text and gives what shows exactly that text.
"""

import re

from markupsafe import Markup, escape

from recg_core.base.printable import printable

_CODE = re.compile(r"`([^`]+)`")
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~$]"
    r"|<(?! )"  # "p < .05" opens no tag
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # within a word it is itself
    r"|:(?=//)|(?<=www)\."  # what GitHub makes a link of
)
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK = re.compile(r"\s*(?:[#>+=-]|\d+[.)])")  # begins a heading, a quotation or a list
_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
        "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
        "[": "{[}", "]": "{]}", "*": "{*}",  # after the end of a row these are its arguments
        "†": r"$^\dagger$", "‡": r"$^\ddagger$", "▲": r"$^\blacktriangle$",
        "▼": r"$^\blacktriangledown$", "→": r"$\rightarrow$", "≤": r"$\leq$", "§": r"\S{}",
    }
)  # fmt: skip
# A spreadsheet computes what begins like this, wide signs too, unless it is a number or a range.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBERS = re.compile(r"-|[+-]?[\d.,]+(?: to [+-]?[\d.,]+)?")


def markup_text(text: str) -> Markup:
    """Of HTML and SVG, as content or within a quoted attribute."""
    return escape(printable(text))


def markup_prose(text: str) -> Markup:
    """The same with `code` between back-ticks, for sentences of our own."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(markup_text(text))))


def markdown_text(text: str) -> str:
    """Of Markdown, within a line: a cell, a heading, the words of an image."""
    escaped = _MARKDOWN.sub(lambda found: "\\" + found[0], _ENTITY.sub("&amp;", printable(text)))
    return escaped.replace(r"\<", "&lt;")


def markdown_prose(text: str) -> str:
    """Of Markdown, a paragraph, in which `code` stays between back-ticks."""
    parts = _CODE.split(printable(text))
    shown = "".join(
        f"`{part}`" if index % 2 else markdown_text(part) for index, part in enumerate(parts)
    )
    begins = _BLOCK.match(shown)
    return f"{shown[: begins.end() - 1]}\\{shown[begins.end() - 1 :]}" if begins else shown


def latex_text(text: str) -> str:
    """Of LaTeX, in a cell or in a comment's line."""
    return printable(text).translate(_LATEX)


def csv_text(text: str) -> str:
    """Of CSV: a cell that a spreadsheet would compute begins with an apostrophe."""
    shown = printable(text)
    return "'" + shown if _FORMULA.match(shown) and not _NUMBERS.fullmatch(shown) else shown
