"""What a report is made of, and how it is written: Markdown, CSV, LaTeX and HTML."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from recg_core.base.printable import printable
from recg_core.report.escape import (
    csv_text,
    latex_text,
    markdown_prose,
    markdown_text,
    markup_prose,
)


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

    def has(self, sign: str) -> bool:
        """Whether a head or a label of a row ends in a sign."""
        labels = [entry for row in self.rows for entry in row[: self.labels]]
        return any(sign in text for text in (*self.columns, *labels) if isinstance(text, str))

    def markdown(self) -> str:
        """The table, its numbers to the right, the best in bold."""
        rule = ["---"] * self.labels + ["--:"] * (len(self.columns) - self.labels)
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
        form = "l" * self.labels + "r" * (len(self.columns) - self.labels)
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
    """An inline SVG."""

    title: str
    alt: str
    svg: str


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
    blocks: tuple[Table | Drawing | Figure, ...] = ()

    @property
    def anchor(self) -> str:
        """Its id within the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The report as Markdown; drawings are named, since Markdown has no place for them."""
    parts = [f"# {markdown_text(title)}"]
    for section in sections:
        parts += [f"## {markdown_text(section.title)}", *map(markdown_prose, section.paragraphs)]
        for block in section.blocks:
            parts.append(f"### {markdown_text(block.title)}")
            if isinstance(block, Table):
                parts += [markdown_prose(block.caption), block.markdown()]
            elif isinstance(block, Figure):
                parts.append(
                    f"![{markdown_text(block.alt)}]({quote(block.link, errors='surrogateescape')})"
                )
                parts += [markdown_prose(block.caption), block.table.markdown()]
            else:
                parts.append(f"{markdown_prose(block.alt)} The drawing is in report.html.")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(title: str, sections: Sequence[Section]) -> str:
    """The report as one page that needs nothing else: no network, no script.

    Landmarks, captions and row headers for screen readers, light and dark.
    """
    source = resources.files("recg_core.report").joinpath("page.html").read_text("utf-8")
    # With autoescape, all that is inserted goes through `printable` and `escape`, as `markup_text`.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_finalized
    )
    page = environment.from_string(source).render(
        title=title, sections=sections, prose=markup_prose
    )
    return page.strip() + "\n"


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
