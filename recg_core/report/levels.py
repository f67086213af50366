"""The picture at the top: every row's zero-shot means with intervals, chance to best."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import INTERACTIONS_MARK, Cells, Model
from recg_core.report.config import FULL
from recg_core.report.escape import markup_text
from recg_core.report.layout import Drawing, Panels
from recg_core.report.wording import title_of

_LINE, _TOP, _BOTTOM, _PLOT, _RIGHT = 19, 30, 26, 210, 16
_LETTER = 6.6  # the width of one, in units of the drawing
_TICKS = 5


class _Row(NamedTuple):
    name: str
    trained: bool
    used: bool  # whether it uses interactions of the target
    mean: float  # percent, as the two ends of the interval
    low: float
    high: float


def levels(analysis: Analysis) -> Panels | None:
    """A panel each for the two headline metrics; None where nothing zero-shot is counted."""
    models = ranked_models(analysis)
    if not models:
        return None
    views = [analysis.view(FULL, metric) for metric in analysis.config.headline]
    return Panels(
        "Zero-shot, mean over all pairs of domains",
        "Percent, full ranking, with 95 % bootstrap intervals over users. Filled: trained on "
        "another domain; hollow: training-free. The dashed line is the best training-free row that "
        "uses no interactions of the target; rows below the rule use some (†).",
        tuple(_drawing(view, analysis.cells, models) for view in views),
    )


def ranked_models(analysis: Analysis) -> list[Model]:
    """The rows with zero-shot means, the best NDCG first, those with interactions last."""
    cells = analysis.cells
    view = analysis.view(FULL, analysis.config.headline[1])
    found = {
        model: view.average(over)[0]
        for model in cells.models
        if (over := cells.counted(model, zero_shot=True))
    }
    return sorted(
        found, key=lambda model: (cells.uses_interactions(model, zero_shot=True), -found[model])
    )


def _drawing(view: View, cells: Cells, models: Sequence[Model]) -> Drawing:
    rows = [_row(view, cells, model) for model in models]
    top = max(row.high for row in rows) or 1.0
    left = _LETTER * max(len(row.name) for row in rows) + 14
    width, base = left + _PLOT + _RIGHT, _TOP + _LINE * len(rows)
    title = title_of(view.metric)
    alt = f"Zero-shot {title}, percent: " + ", ".join(f"{r.name} {r.mean:.2f}" for r in rows) + "."

    def across(value: float) -> str:
        return f"{left + _PLOT * value / top:.1f}"

    def upright(kind: str, value: float) -> str:
        x = across(value)
        return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{base}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {base + _BOTTOM}" '
        f'role="img" aria-label="{markup_text(alt)}">',
        f'<text x="{left:.1f}" y="16">{title}, percent</text>',
    ]
    for value in np.linspace(0, top, _TICKS):
        parts.append(upright("rule", value))
        parts.append(
            f'<text class="soft" x="{across(value)}" y="{base + 16}" text-anchor="middle">'
            f"{value:.{0 if top >= 20 else 1}f}</text>"
        )
    strict = [row for row in rows if not row.used]
    if free := [row.mean for row in strict if not row.trained]:
        parts.append(upright("level", max(free)))
    if 0 < len(strict) < len(rows):
        y = _middle(len(strict)) - _LINE / 2
        parts.append(f'<line class="rule" x1="6" x2="{width - _RIGHT:.1f}" y1="{y}" y2="{y}"/>')
    for index, row in enumerate(rows):
        y, colour = _middle(index), "c0" if row.trained else "c1"
        parts += [
            f'<text x="{left - 10:.1f}" y="{y + 4}" text-anchor="end">'
            f"{markup_text(row.name)}</text>",
            f'<line class="{colour}" x1="{across(row.low)}" x2="{across(row.high)}" y1="{y}" '
            f'y2="{y}"/>',
            f'<circle class="{colour}" cx="{across(row.mean)}" cy="{y}" r="3.6"/>',
        ]
    name = f"levels_{view.metric.replace('@', '_')}"
    return Drawing(name, "", alt, "".join([*parts, "</svg>"]))


def _middle(index: int) -> int:
    """The height of a row's middle."""
    return _TOP + _LINE * index + 4


def _row(view: View, cells: Cells, model: Model) -> _Row:
    mean, low, high = view.average(cells.counted(model, zero_shot=True))
    used = cells.uses_interactions(model, zero_shot=True)
    name = f"{model}{INTERACTIONS_MARK if used else ''}"
    return _Row(name, model.backbone is not None, used, 100 * mean, 100 * low, 100 * high)
