"""What the drawings of the page have in common: a frame of one width, rules in percent, text."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recg_core.report.escape import markup_text

WIDTH, LEFT, TOP = 400, 44, 12
COLOURS = 9  # classes c0..c8 of the page's style
_MARGIN, _PLOT, _LEGEND = 36, 170, 18


class Line(NamedTuple):
    """A row over several places, as fractions."""

    name: str
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...] = ()  # of each value, or none
    dashed: bool = False


def lines_svg(alt: str, labels: Sequence[str], lines: Sequence[Line]) -> str:
    """Lines over places at equal distances, two or more, and their names below."""
    tops = [end for line in lines for _, end in line.intervals]
    top = max([*tops, *(value for line in lines for value in line.values)]) or 1.0
    step = (WIDTH - LEFT - 2 * _MARGIN) / (len(labels) - 1)

    def down(value: float) -> str:
        return f"{TOP + _PLOT * (1 - value / top):.1f}"

    across = [f"{LEFT + _MARGIN + step * place:.1f}" for place in range(len(labels))]
    parts = opened(TOP + _PLOT + 40 + _LEGEND * len(lines), alt, top, down)
    for x, label in zip(across, labels, strict=True):
        parts.append(words(x, TOP + _PLOT + 18, label, "middle"))
    for number, line in enumerate(lines):
        style = f'class="c{number % COLOURS}"' + (' stroke-dasharray="4 3"' if line.dashed else "")
        joined = " ".join(f"{x},{down(v)}" for x, v in zip(across, line.values, strict=True))
        middle = TOP + _PLOT + 40 + _LEGEND * number
        parts.append(f'<polyline {style} points="{joined}"/>')
        for x, (low, high) in zip(across, line.intervals, strict=False):
            parts.append(f'<line {style} x1="{x}" x2="{x}" y1="{down(low)}" y2="{down(high)}"/>')
        parts += [
            f'<line {style} x1="10" x2="28" y1="{middle}" y2="{middle}"/>',
            words(34, middle + 4, line.name, "start"),
        ]
    return "".join([*parts, "</svg>"])


def opened(height: int, alt: str, top: float, down: Callable[[float], str]) -> list[str]:
    """The first parts of an SVG: its tag, and rules at 0, half of and the whole of `top`.

    Args:
        alt: what the drawing shows.
        top: the largest value, as a fraction.
        down: where a value stands, from above.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{markup_text(alt)}">'
    ]
    for value in (0.0, 0.5 * top, top):
        y = down(value)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y}" y2="{y}"/>')
        parts.append(words(LEFT - 6, float(y) + 4, f"{100 * value:.1f}", "end"))
    return parts


def words(x: float | str, y: float, text: str, anchor: str) -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{markup_text(text)}</text>'
