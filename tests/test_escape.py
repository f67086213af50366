"""Text of any origin in every format of the report: it shows, and does nothing."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from recg_core.base.printable import printable
from recg_core.figures.draw import Line, LinePanel, Scatter, draw_lines, draw_scatters
from recg_core.report.escape import csv_text, latex_text, markup_text
from recg_core.report.layout import Figure, Number, Section, Table, html, markdown

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- ]]> --> &lt;b&gt; &amp;",
    "=cmd|' /C calc'!A0",
    "+1+cmd|'/C calc'!A0",
    "-2+3",
    "@SUM(1+1)",
    "\t=1+1",
    " =1+1",
    "\uff1d1+1",
    r"\input{/etc/passwd} \\[1em] $x^2_3$ 100% & # ~ {}",
    "[*] \\",
    "`code` ``more` *bold* **bold** _it_ __it__ ~~gone~~ a_b",
    "[link](javascript:alert(1)) ![image](http://a.example/x.png) <http://a.example>",
    "http://a.example/x www.a.example a@b.example",
    "a | b || c",
    "# heading",
    "1. list",
    "> quotation",
    "- list",
    "---",
    "<|im_start|>system [INST] <s> </s> <<SYS>>",
    "two\nlines\r\nand\tmore\u2028lines",
    "\x1b[2J\x00\x07 bell \x9b31m",
    "\u202egnp.exe \u2066 \ud800 \ufffe",
    "<svg/onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "$\\frac{",
]
texts = st.text(st.characters(exclude_categories=()), min_size=1, max_size=40)


def shown(text: str) -> str:
    """The words that a reader sees, whatever the space between them."""
    return " ".join(printable(text).split())


class Page(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def table_of(text: str) -> Table:
    return Table("t", text, text, 1, ("Item", text), ((text, Number(1.5, text, note=text)),) * 2)


def sections_of(text: str) -> list[Section]:
    table = table_of(text)
    figure = Figure(text, text, text, "data:image/png;base64,", "../a b).png", table)
    return [Section(text, (text,), (table, figure))]


@pytest.mark.parametrize("text", HOSTILE)
def test_on_the_page_it_is_text(text: str) -> None:
    harmless, page = (Page(html("t", sections_of(t))) for t in ("harmless", text))
    # But for code in back-ticks, which prose may have.
    assert [tag for tag in page.tags if tag != "code"] == harmless.tags
    assert page.attributes == harmless.attributes
    cells = Page(html("t", [Section("s", (), (table_of(text),))])).text
    assert cells.count(printable(text)) >= 5


@pytest.mark.parametrize("text", HOSTILE)
def test_in_markdown_it_is_text(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    harmless, page = (
        Page(parser.render(markdown("t", [Section("s", ("p",), (table_of(t),))])))
        for t in ("harmless", text)
    )
    assert [tag for tag in page.tags if tag != "code"] == harmless.tags
    words = page.text.split("Item", 1)[1]
    assert " ".join(words.split()).count(shown(text)) == 1 + 2 * 3
    figure = Page(parser.render(markdown("t", sections_of(text))))
    assert figure.tags.count("img") == 1
    assert {"script", "svg", "a", "s", "b"}.isdisjoint(figure.tags)


@pytest.mark.parametrize("text", HOSTILE)
def test_in_a_spreadsheet_no_cell_is_a_formula(text: str) -> None:
    rows = list(csv.reader(io.StringIO(table_of(text).csv())))
    assert [len(row) for row in rows] == [2, 2, 2]
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r"\s*[=+@\uff1d]|\s*-.", cell)
    assert rows[1] == [csv_text(text), "1.50"]
    assert rows[1][0].removeprefix("'") == printable(text)


@pytest.mark.parametrize("text", ["-", "-0.12 to +0.20", "+1.5", "-3", "1,234", "Lamp - big"])
def test_numbers_and_ranges_stay_as_they_are_in_csv(text: str) -> None:
    assert csv_text(text) == text


LATEX_ESCAPES = re.compile(
    r"\\[&%_#${}]|\\text(?:backslash|asciicircum|asciitilde|less|greater|bar)\{\}|\{[\[\]*]\}"
)


@pytest.mark.parametrize("text", HOSTILE)
def test_in_latex_no_sign_is_a_command(text: str) -> None:
    left = LATEX_ESCAPES.sub("", latex_text(text))
    assert not set(left) & set("\\{}$&#^_~%<>|[]*\n\r")
    comment, *rest = table_of(text).latex().split("\n")
    assert comment.startswith("% ")
    assert rest[0] == r"\begin{tabular}{lr}"


@given(texts)
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    line = printable(text)
    assert len(line.splitlines()) == 1
    assert printable(line) == line
    assert len(line) == len(text)
    line.encode("utf-8")


@given(texts)
def test_any_text_makes_well_formed_svg(text: str) -> None:
    parsed = ET.fromstring(f'<text label="{markup_text(text)}">{markup_text(text)}</text>')
    assert (parsed.text, parsed.get("label")) == (printable(text), printable(text))
    assert len(parsed) == 0


def test_ordinary_text_of_any_language_is_not_touched() -> None:
    text = "Käse № 5, 茶 “fine” — naïve 👩‍🔬 می‌خواهم"
    assert printable(text) == text
    assert latex_text(text) == text
    assert csv_text(text) == text
    assert str(markup_text(text)) == text


@pytest.mark.parametrize("text", ["$x_", "$\\frac{$", "_hidden", "a\x00b", "\ud800", "100 $ and $"])
def test_labels_of_images_are_no_formulas(text: str) -> None:
    points, groups = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    assert draw_scatters([[Scatter(text, points, groups)]], [text, "b"])
    line = Line(text, [1.0, 2.0], [1.0, 2.0], [0.1, 0.1])
    assert draw_lines([LinePanel(text, text, text, [line])])


def test_a_legend_leaves_no_name_out() -> None:
    """matplotlib would take a name that begins with _ for one to hide."""
    panel = Scatter("t", np.zeros((2, 2)), np.array([0, 1]))
    assert draw_scatters([[panel]], ["_a", "b"]) != draw_scatters([[panel]], [" ", "b"])
