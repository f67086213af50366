"""What a report is made of, and how it is written: Markdown, CSV, LaTeX and HTML."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recg_core.base.printable import printable
from recg_core.report.escape import (
    csv_text,
    latex_text,
    markdown_prose,
    markdown_text,
    markup_prose,
)

DRAWINGS = "drawings"  # the folder of the drawings beside `report.md`


@dataclass(frozen=True)
class Number:
    """A figure in a table."""

    value: float | None  # as shown, percent where the table says so; None: there is none
    marks: str = ""
    bold: bool = False
    form: str = ".2f"
    note: str = ""  # follows the number
    shade: float | None = None  # 0 to 1, of a heat-map

    @property
    def plain(self) -> str:
        """The number alone."""
        return "-" if self.value is None else format(self.value, self.form)

    @property
    def text(self) -> str:
        """The number with its marks and note."""
        return self.plain + self.marks + (f" {self.note}" if self.note else "")


Entry = str | Number


def percent(fraction: float | None, marks: str = "", form: str = ".2f", note: str = "") -> Number:
    """A fraction in percent; no number and no marks where there is none, or none that is finite."""
    if fraction is None or not math.isfinite(fraction):
        return Number(None)
    return Number(100 * fraction, marks, form=form, note=note)


@dataclass(frozen=True)
class Table:
    """A table whose first `labels` columns name the row."""

    name: str  # of its files
    title: str
    caption: str
    labels: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    words: bool = False  # whether its texts are sentences or titles, which take several lines

    def has(self, sign: str) -> bool:
        """Whether a head or a label of a row ends in a sign."""
        labels = [entry for row in self.rows for entry in row[: self.labels]]
        return any(sign in text for text in (*self.columns, *labels) if isinstance(text, str))

    @property
    def left(self) -> tuple[bool, ...]:
        """Of each column, whether it begins at the left: labels and texts do, numbers do not."""
        numbers = {
            index
            for row in self.rows
            for index, entry in enumerate(row)
            if isinstance(entry, Number)
        }
        columns = range(len(self.columns))
        return tuple(index < self.labels or index not in numbers for index in columns)

    def markdown(self) -> str:
        """The table, its numbers to the right, the best in bold."""
        rule = ["---" if left else "--:" for left in self.left]
        heads = map(markdown_text, self.columns)
        lines = (heads, rule, *(map(_markdown, row) for row in self.rows))
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def csv(self) -> str:
        """The table for programs: numbers without marks, an empty field where there is none."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(csv_text, self.columns))
        for row in self.rows:
            writer.writerow(map(_csv, row))
        return stream.getvalue()

    def latex(self) -> str:
        """The table as a `tabular` for the package booktabs."""
        form = "".join("l" if left else "r" for left in self.left)
        head, *body = (" & ".join(map(_latex, row)) + r" \\" for row in (self.columns, *self.rows))
        parts = [
            f"% {printable(f'{self.title}. {self.caption}')}",
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
        ]
        parts += [head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""]
        return "\n".join(parts)


@dataclass(frozen=True)
class Drawing:
    """An SVG in the colours of the page."""

    name: str  # of its file
    caption: str
    alt: str  # what it shows, for readers who cannot see it
    svg: str

    def standalone(self) -> str:
        """The SVG as a file of its own, for Markdown."""
        opening, _, rest = self.svg.partition(">")
        return f"{opening}>\n<style>{_drawing_style()}</style>\n{rest}\n"


@dataclass(frozen=True)
class Panels:
    """Drawings side by side where there is room."""

    title: str
    caption: str
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Figure:
    """An image made elsewhere, with the numbers behind it."""

    title: str
    caption: str
    alt: str
    data_uri: str
    link: str  # from the report's folder
    table: Table


@dataclass(frozen=True)
class Section:
    """A headed part of the report."""

    title: str
    paragraphs: tuple[str, ...] = ()
    blocks: tuple[Table | Panels | Figure, ...] = ()

    @property
    def anchor(self) -> str:
        """Its id within the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The report as Markdown; drawings are files in the folder DRAWINGS beside it."""
    parts = [f"# {markdown_text(title)}"]
    for section in sections:
        parts += [f"## {markdown_text(section.title)}", *map(markdown_prose, section.paragraphs)]
        for block in section.blocks:
            parts.append(f"### {markdown_text(block.title)}")
            if isinstance(block, Figure):
                parts.append(_image(block.alt, block.link))
            parts.append(markdown_prose(block.caption))
            if isinstance(block, Panels):
                for drawing in block.drawings:
                    parts.append(_image(drawing.alt, f"{DRAWINGS}/{drawing.name}.svg"))
                    parts.append(markdown_prose(drawing.caption))
            else:
                parts.append((block.table if isinstance(block, Figure) else block).markdown())
    return "\n\n".join(part for part in parts if part) + "\n"


def _image(alt: str, link: str) -> str:
    return f"![{markdown_text(alt)}]({quote(link, errors='surrogateescape')})"


def html(title: str, sections: Sequence[Section]) -> str:
    """The report as one page that needs nothing else: no network, no script.

    Landmarks, captions and row headers for screen readers, light and dark.
    """
    source = _resource("page.html")
    # With autoescape, all that is inserted goes through `printable` and `escape`, as `markup_text`.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_finalized
    )
    page = environment.from_string(source).render(
        title=title, sections=sections, prose=_paragraph, drawing_style=Markup(_drawing_style())
    )
    return page.strip() + "\n"


def _paragraph(text: str) -> Markup:
    """A paragraph of the page, in which no line begins with the sign of percent."""
    return Markup(markup_prose(text).replace(" %", "\u00a0%"))


def _drawing_style() -> str:
    return _resource("drawing.css").strip()


def _resource(name: str) -> str:
    return resources.files("recg_core.report").joinpath(name).read_text("utf-8")


def bold_best(rows: Sequence[Sequence[Entry]], groups: int = 0) -> tuple[tuple[Entry, ...], ...]:
    """The rows with the largest number of each column in bold, within rows of equal labels.

    Args:
        groups: how many leading columns name the group.
    """
    best: dict[tuple[Entry, ...], list[float]] = {}
    for row in rows:
        shown = [_rounded(entry) for entry in row]
        of_group = best.setdefault(tuple(row[:groups]), shown)
        best[tuple(row[:groups])] = list(map(max, of_group, shown))
    return tuple(
        tuple(
            replace(entry, bold=True)
            if isinstance(entry, Number) and entry.value is not None and _rounded(entry) == top
            else entry
            for entry, top in zip(row, best[tuple(row[:groups])], strict=True)
        )
        for row in rows
    )


def _rounded(entry: Entry) -> float:
    """The number as it is shown, below all others where there is none."""
    if isinstance(entry, str) or entry.value is None:
        return -math.inf
    return round(entry.value, 2)


def _markdown(entry: Entry) -> str:
    if isinstance(entry, str):
        return markdown_text(entry)
    shown = f"**{entry.plain}**" if entry.bold else entry.plain
    return (
        shown + markdown_text(entry.marks) + (f" {markdown_text(entry.note)}" if entry.note else "")
    )


def _csv(entry: Entry) -> str:
    if isinstance(entry, str):
        return csv_text(entry)
    return "" if entry.value is None else entry.plain


def _latex(entry: Entry) -> str:
    if isinstance(entry, str):
        return latex_text(entry)
    text = latex_text(entry.plain)
    note = f" {latex_text(entry.note)}" if entry.note else ""
    marks = latex_text(entry.marks).replace("{*}", r"$^{*}$")
    return (rf"\textbf{{{text}}}" if entry.bold else text) + marks + note


def _finalized(value: object) -> object:
    """Plain text as `printable` gives it; markup stays, since it was made of such text."""
    return printable(value) if type(value) is str else value
