"""What a report is made of, and its Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "†": r"$^\dagger$",
        "‡": r"$^\ddagger$", "▲": r"$^\blacktriangle$", "▼": r"$^\blacktriangledown$",
        "→": r"$\rightarrow$", "@": "@", "≤": r"$\leq$",
    }
)  # fmt: skip


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
        numbers = len(self.columns) - self.labels
        rule = ["---"] * self.labels + ["--:"] * numbers
        body = [[_markdown(entry) for entry in row] for row in self.rows]
        lines = (self.columns, rule, *body)
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
        lines = [_latex_row(self.columns), *(_latex_row(row) for row in self.rows)]
        head, *body = lines
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


def bold_best(rows: Sequence[Sequence[Entry]], groups: int = 0) -> tuple[tuple[Entry, ...], ...]:
    """The rows with the largest number of each column in bold, within rows of equal labels.

    Args:
        groups: how many leading columns name the group.
    """
    best: dict[tuple[object, ...], float] = {}
    for row in rows:
        for place, entry in _numbers(row, groups):
            best[place] = max(best.get(place, float("-inf")), round(entry, 2))
    return tuple(
        tuple(
            replace(entry, bold=True)
            if isinstance(entry, Number)
            and entry.value is not None
            and round(entry.value, 2) == best[_place(row, groups, column)]
            else entry
            for column, entry in enumerate(row)
        )
        for row in rows
    )


def _numbers(row: Sequence[Entry], groups: int) -> list[tuple[tuple[object, ...], float]]:
    return [
        (_place(row, groups, column), entry.value)
        for column, entry in enumerate(row)
        if isinstance(entry, Number) and entry.value is not None
    ]


def _place(row: Sequence[Entry], groups: int, column: int) -> tuple[object, ...]:
    return (*row[:groups], column)


def _markdown(entry: Entry) -> str:
    if isinstance(entry, str):
        return entry
    number = f"**{entry.plain}**" if entry.bold else entry.plain
    return number + entry.marks.replace("*", r"\*") + (f" {entry.note}" if entry.note else "")


def _latex_row(row: Sequence[Entry]) -> str:
    return " & ".join(map(_latex, row)) + r" \\"


def _latex(entry: Entry) -> str:
    if isinstance(entry, str):
        return entry.translate(_LATEX)
    text = entry.plain.translate(_LATEX)
    marks = entry.marks.replace("*", r"$^{*}$").translate(
        {key: value for key, value in _LATEX.items() if chr(key) not in "$"}
    )
    note = f" {entry.note.translate(_LATEX)}" if entry.note else ""
    return (rf"\textbf{{{text}}}" if entry.bold else text) + marks + note
