"""The heat-map of source -> target cells, as a table and as a picture."""

from xml.sax.saxutils import escape

from recg_core.ranking.metrics import NO_SOURCE
from recg_core.report.analysis import TRAINING_FREE, Analysis
from recg_core.report.cells import INTERACTIONS_MARK, Cells, Grid
from recg_core.report.layout import Entry, Number, Table
from recg_core.report.tables import VERDICT, title_of

_WIDTH, _HEIGHT, _LEFT, _TOP = 84, 26, 190, 64


def heatmap_table(analysis: Analysis, cells: Cells, grid: Grid, protocol: str) -> Table:
    """One row a model, one column a pair of domains; shaded by the share of the pair's best."""
    metric = analysis.config.headline[1]
    pairs = [*grid.pairs(zero_shot=True), *grid.pairs(zero_shot=False)]
    models = list(dict.fromkeys(model for model, _, _ in cells.trained))
    values: dict[tuple[str, str, str], float] = {
        (m, s, t): analysis.mean(m, s, t, protocol, metric) for m, s, t in cells.trained
    }
    best_free = {
        (s, t): _best_free(analysis, cells, t, protocol, metric, with_interactions=s == t)
        for s, t in pairs
    }
    top = {
        pair: max([best_free[pair][1], *(values.get((m, *pair), 0.0) for m in models)])
        for pair in pairs
    }
    rows: list[tuple[Entry, ...]] = []
    for model in models:
        used = any(
            cells.trained[model, s, t].target_interactions_used
            for s, t in grid.pairs(zero_shot=True)
            if (model, s, t) in cells.trained
        )
        row: list[Entry] = [model + (INTERACTIONS_MARK if used else "")]
        for source, target in pairs:
            value = values.get((model, source, target))
            free = analysis.comparison(model, source, target, protocol, metric, TRAINING_FREE)
            marks = VERDICT[free.verdict] if free else ""
            row.append(_shaded(value, top[source, target], marks))
        rows.append(tuple(row))
    rows.append(("best training-free", *(_shaded(best_free[pair][1], top[pair]) for pair in pairs)))
    return Table(
        f"heatmap_{protocol}",
        f"{title_of(metric)} of every source → target cell",
        "Percent; darker: closer to the best of the pair. ▲ ▼ above or below the best "
        "training-free row (paired t-test, Holm, p < .05). In-domain pairs stand last. "
        f"{INTERACTIONS_MARK} uses interactions of the target in zero-shot cells.",
        1,
        ("Model", *(f"{source} → {target}" for source, target in pairs)),
        tuple(rows),
    )


def heatmap_svg(table: Table) -> str:
    """The heat-map as a picture of its own, on a light ground."""
    width = _LEFT + _WIDTH * (len(table.columns) - 1) + 10
    height = _TOP + _HEIGHT * len(table.rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(table.title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold" fill="#1a1a1a">'
        f"{escape(table.title)}, percent</text>",
    ]
    for column, head in enumerate(table.columns[1:]):
        x = _LEFT + _WIDTH * column + _WIDTH / 2
        source, _, target = head.partition(" → ")
        for line, text in enumerate((source, f"→ {target}")):
            parts.append(_text(x, _TOP - 22 + 14 * line, text, "middle"))
    for index, row in enumerate(table.rows):
        y = _TOP + _HEIGHT * index
        parts.append(_text(_LEFT - 8, y + 17, str(row[0]), "end"))
        for column, entry in enumerate(row[1:]):
            if isinstance(entry, Number) and entry.value is not None:
                parts.append(_box(_LEFT + _WIDTH * column, y, entry))
    return "\n".join([*parts, "</svg>", ""])


def _best_free(
    analysis: Analysis, cells: Cells, target: str, protocol: str, metric: str, *,
    with_interactions: bool,
) -> tuple[str, float]:  # fmt: skip
    rows = cells.rows_of(target, with_interactions=with_interactions)
    values = {row: analysis.mean(row, NO_SOURCE, target, protocol, metric) for row in rows}
    best = max(values, key=lambda row: values[row])
    return best, values[best]


def _shaded(value: float | None, top: float, marks: str = "") -> Number:
    if value is None:
        return Number(None)
    return Number(100 * value, marks, shade=value / top if top else 0.0)


def _box(x: float, y: float, entry: Number) -> str:
    shade = entry.shade or 0.0
    # From nearly white to a dark blue, the text in the colour that contrasts.
    colour = ",".join(
        str(round(a + (b - a) * shade)) for a, b in ((241, 24), (246, 90), (252, 160))
    )
    ink = "#fff" if shade > 0.55 else "#1a1a1a"
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH - 2}" height="{_HEIGHT - 2}" rx="3" '
        f'fill="rgb({colour})"/>' + _text(x + _WIDTH / 2, y + 17, entry.text, "middle", ink)
    )


def _text(x: float, y: float, text: str, anchor: str, ink: str = "#1a1a1a") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{ink}">{escape(text)}</text>'
