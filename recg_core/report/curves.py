"""Training curves as inline SVG in the colours of the page."""

from pathlib import Path

import polars as pl

from recg_core.report.cells import Grid
from recg_core.report.layout import Drawing

METRIC = "valid_ndcg@10"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 240, 44, 28, 12
_COLOURS = 9  # classes c0..c8 of the page's style


def curve_drawings(folder: Path, grid: Grid) -> list[Drawing]:
    """One drawing a source: validation NDCG@10 by epoch, a line for each model and seed."""
    models = grid.models(zero_shot=False)
    drawings = []
    for source in grid.sources:
        lines = {
            str(model): _lines(folder / model.variant / source / f"{model.backbone}.csv")
            for model in models
        }
        found = {model: seeds for model, seeds in lines.items() if seeds}
        if found:
            drawings.append(_drawing(source, found))
    return drawings


def _lines(path: Path) -> list[list[tuple[float, float]]]:
    """Epoch and metric of every seed; none where the model has no curves."""
    if not path.is_file():
        return []
    frame = pl.read_csv(path).select("seed", "epoch", METRIC).drop_nulls()
    return [
        [(float(epoch), float(value)) for epoch, value in part.select("epoch", METRIC).iter_rows()]
        for part in frame.partition_by("seed", maintain_order=True)
    ]


def _drawing(source: str, lines: dict[str, list[list[tuple[float, float]]]]) -> Drawing:
    points = [point for seeds in lines.values() for line in seeds for point in line]
    last = max(1.0, max(x for x, _ in points))
    first = min(x for x, _ in points)
    top = max(y for _, y in points) or 1.0
    span = max(last - first, 1.0)

    def place(x: float, y: float) -> str:
        across = _LEFT + (_WIDTH - _LEFT - 10) * (x - first) / span
        return f"{across:.1f},{_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - y / top):.1f}"

    legend = 18 * ((len(lines) + 2) // 3)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + legend}" role="img" '
        f'aria-label="Training curves on {source}">'
    ]
    for share in (0.0, 0.5, 1.0):
        _, y = place(first, share * top).split(",")
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4}" text-anchor="end">')
        parts.append(f"{100 * share * top:.1f}</text>")
    for x in (first, last):
        across, _ = place(x, 0).split(",")
        parts.append(f'<text x="{across}" y="{_HEIGHT - 8}" text-anchor="middle">{x:g}</text>')
    for index, (model, seeds) in enumerate(lines.items()):
        for line in seeds:
            joined = " ".join(place(x, y) for x, y in line)
            parts.append(f'<polyline class="c{index % _COLOURS}" points="{joined}"/>')
        left, down = 10 + (index % 3) * 185, _HEIGHT + 12 + 18 * (index // 3)
        ends = f'x1="{left}" x2="{left + 18}" y1="{down}" y2="{down}"'
        parts.append(f'<line class="c{index % _COLOURS}" {ends}/>')
        parts.append(f'<text x="{left + 24}" y="{down + 4}">{model}</text>')
    best = {model: max(y for line in seeds for _, y in line) for model, seeds in lines.items()}
    said = ", ".join(f"{model} {100 * value:.2f}" for model, value in best.items())
    return Drawing(
        f"Trained on {source}",
        f"NDCG@10 (percent, full ranking) on the validation items of {source} by epoch; the best "
        f"value of each model: {said}.",
        "".join([*parts, "</svg>"]),
    )
