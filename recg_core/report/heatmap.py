"""The heat-map of source -> target cells, as a table and as a picture."""

from recg_core.base.sources import in_domain
from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import INTERACTIONS_MARK, Cell, Competition
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.escape import markup_text
from recg_core.report.layout import Entry, Number, Table
from recg_core.report.wording import arrow, title_of

_WIDTH, _HEIGHT, _LEFT, _TOP = 84, 26, 190, 64
_LETTER = 8  # the width of one at most


def heatmap_table(analysis: Analysis, protocol: str) -> Table:
    """One row a model, one column a pair of domains; shaded by the share of the best rival."""
    cells = analysis.cells
    view = analysis.view(protocol, analysis.config.headline[1])
    pairs = [*cells.grid.pairs(zero_shot=True), *cells.grid.pairs(zero_shot=False)]
    rows: list[tuple[Entry, ...]] = []
    for model in cells.models:
        if model.backbone:
            used = cells.uses_interactions(model, zero_shot=True)
            numbers = [_shaded(view, cells.find(model, *pair)) for pair in pairs]
            rows.append((f"{model}{INTERACTIONS_MARK if used else ''}", *numbers))
    rows.append(("best training-free", *(_best_free(view, *pair) for pair in pairs)))
    return Table(
        f"heatmap_{protocol}",
        f"{title_of(view.metric)} of every source → target cell",
        "Percent; darker: closer to the best that the cell competes with. ▲ ▼ above or below the "
        "best training-free row (paired t-test, Holm, p < .05). In-domain pairs stand last. "
        f"{INTERACTIONS_MARK} uses interactions of the target in zero-shot cells.",
        1,
        ("Model", *(f"{source} → {cells.label(target)}" for source, target in pairs)),
        tuple(rows),
    )


def _shaded(view: View, cell: Cell | None) -> Number:
    if cell is None:
        return Number(None)
    marks = arrow(view.against(cell, TRAINING_FREE))
    return _number(view, cell, view.analysis.cells.rivals(cell), marks)


def _best_free(view: View, source: str, target: str) -> Number:
    """The best training-free row: of those without target interactions for a zero-shot pair."""
    cells = view.analysis.cells
    field = cells.competition(source, target, with_interactions=in_domain(source, target))
    return _number(view, view.best(field.training_free), field)


def _number(view: View, cell: Cell, field: Competition, marks: str = "") -> Number:
    """A cell as dark as it is close to the best of the field."""
    value = view.value(cell)
    top = view.value(view.best([*field.trained, *field.training_free]))
    return Number(100 * value, marks, shade=value / top if top else 0.0)


def heatmap_svg(table: Table) -> str:
    """The heat-map as a picture of its own, on a light ground."""
    heads = [tuple(head.split(" → ")) for head in table.columns[1:]]
    column_width = max(
        _WIDTH, _LETTER * max((len(part) for head in heads for part in head), default=0)
    )
    width = _LEFT + column_width * len(heads) + 10
    height = _TOP + _HEIGHT * len(table.rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" role="img">',
        f"<title>{markup_text(table.title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold" fill="#1a1a1a">'
        f"{markup_text(table.title)}, percent</text>",
    ]
    for column, (source, target) in enumerate(heads):
        x = _LEFT + column_width * column + column_width / 2
        for line, text in enumerate((source, f"→ {target}")):
            parts.append(_text(x, _TOP - 22 + 14 * line, text, "middle"))
    for index, row in enumerate(table.rows):
        y = _TOP + _HEIGHT * index
        parts.append(_text(_LEFT - 8, y + 17, str(row[0]), "end"))
        for column, entry in enumerate(row[1:]):
            if isinstance(entry, Number) and entry.value is not None:
                parts.append(_box(_LEFT + column_width * column, y, column_width, entry))
    return "\n".join([*parts, "</svg>", ""])


def _box(x: float, y: float, width: float, entry: Number) -> str:
    shade = entry.shade or 0.0
    # From nearly white to a dark blue, the text in the colour that contrasts.
    colour = ",".join(
        str(round(a + (b - a) * shade)) for a, b in ((241, 24), (246, 90), (252, 160))
    )
    ink = "#fff" if shade > 0.55 else "#1a1a1a"
    return (
        f'<rect x="{x}" y="{y}" width="{width - 2}" height="{_HEIGHT - 2}" rx="3" '
        f'fill="rgb({colour})"/>' + _text(x + width / 2, y + 17, entry.text, "middle", ink)
    )


def _text(x: float, y: float, text: str, anchor: str, ink: str = "#1a1a1a") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{ink}">{markup_text(text)}</text>'
    )
