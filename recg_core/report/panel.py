"""What the drawings of the page have in common: a frame of one width, rules in percent, text."""

from collections.abc import Callable

from recg_core.report.escape import markup_text

WIDTH, LEFT, TOP = 400, 44, 12
COLOURS = 9  # classes c0..c8 of the page's style


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
