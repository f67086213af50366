"""Images as PNG of few bytes, each beside a JSON with its title, caption and table."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recg_core.base.files import write_bytes, write_sealed_json
from recg_core.base.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe & Ito's colours, which colour-blind readers can tell apart, and a marker for each.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
PALETTE = 32  # colours of a PNG
DPI = 110


@dataclass(frozen=True)
class Image:
    """What stands beside the pixels of an image: the words, and its numbers as a table."""

    title: str
    caption: str
    alt: str  # what the image shows, for readers who cannot see it
    columns: list[str]
    rows: list[list[str | float | None]]


@dataclass(frozen=True)
class Scatter:
    """One panel of points."""

    title: str
    points: np.ndarray  # [N, 2]
    groups: np.ndarray  # int [N], into the names of the legend


@dataclass(frozen=True)
class Line:
    """One curve; its band is left out where `half_widths` is NaN."""

    label: str
    x: list[float]
    y: list[float]
    half_widths: list[float]


@dataclass(frozen=True)
class LinePanel:
    """One panel of curves."""

    title: str
    x_label: str
    y_label: str
    lines: list[Line]


def write_image(folder: Path, name: str, image: Image, png: bytes) -> None:
    """Write `<name>.png` and, last, `<name>.json`, which names it."""
    write_bytes(folder / f"{name}.png", png)
    content = asdict(image) | {
        "image": f"{name}.png",
        "image_sha256": hashlib.sha256(png).hexdigest(),
    }
    write_sealed_json(folder / f"{name}.json", content)


def draw_scatters(rows: Sequence[Sequence[Scatter | None]], names: Sequence[str]) -> bytes:
    """A grid of scatter plots without axes, `None` for an empty place, as PNG.

    Args:
        names: of the groups, for the legend.
    """
    width = max(map(len, rows))
    canvas = _canvas(2.1 * width, 2.2 * len(rows) + 0.4)
    axes = canvas.subplots(len(rows), width, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for panel, place in zip([*row, *[None] * (width - len(row))], places, strict=True):
            place.set_axis_off()
            if panel is not None:
                _draw_scatter(place, panel, len(names))
    points = [axes[0][0].scatter([], [], s=20, **_style(group)) for group in range(len(names))]
    shown = list(map(plot_text, names))
    canvas.legend(points, shown, loc="outside lower center", ncols=len(names), frameon=False)
    return _png(canvas)


def draw_lines(panels: Sequence[LinePanel]) -> bytes:
    """Panels of curves side by side with a shared legend, as PNG.

    Values above 0 that span a factor of 10 or more stand on a logarithmic axis.
    """
    canvas = _canvas(2.9 * len(panels), 3.0)
    axes = canvas.subplots(1, len(panels), squeeze=False)[0]
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    for panel, place in zip(panels, axes, strict=True):
        for line in panel.lines:
            _draw_line(place, line, labels.index(line.label))
        values = sorted({value for line in panel.lines for value in line.x})
        if values and values[0] > 0 and values[-1] >= 10 * values[0]:
            place.set_xscale("log")
        place.set_xticks(values, [f"{value:g}" for value in values], rotation=45)
        place.minorticks_off()
        place.set_title(plot_text(panel.title), fontsize=9)
        place.set_xlabel(plot_text(panel.x_label))
        place.set_ylabel(plot_text(panel.y_label))
        place.grid(alpha=0.3)
    handles = {
        str(curve.get_label()): curve for place in axes for curve in place.get_lines()
        if curve.get_label() in labels
    }  # fmt: skip
    curves = [handles[label] for label in labels]
    shown = list(map(plot_text, labels))
    canvas.legend(curves, shown, loc="outside lower center", ncols=len(labels), frameon=False)
    return _png(canvas)


def plot_text(text: str) -> str:
    """Text of any origin as matplotlib shows it: a `$` begins no formula; lines stay."""
    return "\n".join(printable(line).replace("$", r"\$") for line in text.split("\n"))


def _canvas(width: float, height: float) -> "Canvas":
    # Imported here, since it takes half a second that most of `recg` need not spend.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_scatter(place: "Axes", panel: Scatter, num_groups: int) -> None:
    place.set_title(plot_text(panel.title), fontsize=8)
    for group in range(num_groups):
        points = panel.points[panel.groups == group]
        place.scatter(points[:, 0], points[:, 1], s=5, alpha=0.7, linewidths=0, **_style(group))


def _draw_line(place: "Axes", line: Line, index: int) -> None:
    y, half = np.array(line.y), np.array(line.half_widths)
    style = _style(index)
    place.plot(line.x, y, label=line.label, linewidth=1.2, markersize=4, **style)
    known = np.isfinite(half)
    x = np.array(line.x)[known]
    place.errorbar(x, y[known], half[known], fmt="none", ecolor=style["color"], capsize=3)


def _style(index: int) -> dict[str, Any]:
    """The colour and marker of a group or curve."""
    return {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}


def _png(canvas: "Canvas") -> bytes:
    """The drawing in few colours; equal drawings give equal bytes, since no date is written."""
    import PIL.Image
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(canvas)
    drawn = io.BytesIO()
    canvas.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    with PIL.Image.open(drawn) as opened:
        few = opened.convert("RGB").quantize(PALETTE, dither=PIL.Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, format="png", optimize=True)
    return stream.getvalue()
