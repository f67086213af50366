"""What a report is made of, and how it is written: Markdown, CSV, LaTeX and HTML."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "†": r"$^\dagger$",
        "‡": r"$^\ddagger$", "▲": r"$^\blacktriangle$", "▼": r"$^\blacktriangledown$",
        "→": r"$\rightarrow$", "≤": r"$\leq$",
    }
)  # fmt: skip
_LATEX_MARKS = _LATEX | str.maketrans({"*": r"$^{*}$"})


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

    def markdown(self) -> str:
        """The table, its numbers to the right, the best in bold."""
        rule = ["---"] * self.labels + ["--:"] * (len(self.columns) - self.labels)
        lines = (self.columns, rule, *(map(_markdown, row) for row in self.rows))
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def csv(self) -> str:
        """The table for programs: numbers without marks, an empty field where there is none."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow(
                entry if isinstance(entry, str) else "" if entry.value is None else entry.plain
                for entry in row
            )
        return stream.getvalue()

    def latex(self) -> str:
        """The table as a `tabular` for the package booktabs."""
        form = "l" * self.labels + "r" * (len(self.columns) - self.labels)
        head, *body = (" & ".join(map(_latex, row)) + r" \\" for row in (self.columns, *self.rows))
        parts = [f"% {self.title}. {self.caption}", rf"\begin{{tabular}}{{{form}}}", r"\toprule"]
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
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *section.paragraphs]
        for block in section.blocks:
            parts.append(f"### {block.title}")
            if isinstance(block, Table):
                parts += [block.caption, block.markdown()]
            elif isinstance(block, Figure):
                parts += [f"![{block.alt}]({block.link})", block.caption, block.table.markdown()]
            else:
                parts.append(f"{block.alt} The drawing is in report.html.")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(title: str, sections: Sequence[Section]) -> str:
    """The report as one page that needs nothing else: no network, no script.

    Landmarks, captions and row headers for screen readers, light and dark.
    """
    source = resources.files("recg_core.report").joinpath("page.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(source).render(title=title, sections=sections, prose=_prose)
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
        return entry
    shown = f"**{entry.plain}**" if entry.bold else entry.plain
    return shown + entry.marks.replace("*", r"\*") + (f" {entry.note}" if entry.note else "")


def _latex(entry: Entry) -> str:
    if isinstance(entry, str):
        return entry.translate(_LATEX)
    text = entry.plain.translate(_LATEX)
    note = f" {entry.note.translate(_LATEX)}" if entry.note else ""
    marks = entry.marks.translate(_LATEX_MARKS)
    return (rf"\textbf{{{text}}}" if entry.bold else text) + marks + note


def _prose(text: str) -> Markup:
    """Escaped text with `code` between back-ticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
