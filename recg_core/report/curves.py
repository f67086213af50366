"""Training curves as inline SVG in the colours of the page."""

import hashlib
from pathlib import Path

import polars as pl

from recg_core.base.access import reading
from recg_core.base.errors import UserError
from recg_core.report.cells import Cells, Model
from recg_core.report.escape import markup_text
from recg_core.report.layout import Drawing, Panels
from recg_core.report.panel import COLOURS, LEFT, TOP, WIDTH, opened, words

METRIC = "valid_ndcg@10"
_HEIGHT, _BOTTOM = 220, 28


def curves(folder: Path, cells: Cells) -> Panels | None:
    """A panel a source: validation NDCG@10 by epoch, a line for each model and seed.

    Raises:
        UserError: when a curve is not that of the model whose ranks are there.
    """
    drawings = []
    for source in cells.grid.sources:
        lines = {
            str(model): _lines(folder, cells, model, source)
            for model in cells.grid.models(zero_shot=False)
        }
        if found := {model: seeds for model, seeds in lines.items() if seeds}:
            drawings.append(_drawing(source, found))
    if not drawings:
        return None
    said = "On the validation items of the source, percent, full ranking."
    return Panels("NDCG@10 by epoch", said, tuple(drawings))


def _lines(
    folder: Path, cells: Cells, model: Model, source: str
) -> list[list[tuple[float, float]]]:
    """Epoch and metric of every seed; none where the model has no curves."""
    path = folder / model.variant / source / f"{model.backbone}.csv"
    with reading(path, "run the train stage again"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
    of_model = (c for c in cells.by_key.values() if (c.model, c.source) == (model, source))
    certificate = next(of_model).certificate
    if hashlib.sha256(content).hexdigest() != certificate.curve_sha256:
        raise UserError(
            f"{path}: is damaged, or not of the model that was evaluated; delete it and run the "
            "train stage (`dvc repro`), or take it from DVC's cache (`dvc checkout`)"
        )
    frame = pl.read_csv(content).select("seed", "epoch", METRIC).drop_nulls()
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

    def across(x: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - 10) * (x - first) / span:.1f}"

    def down(y: float) -> str:
        return f"{TOP + (_HEIGHT - TOP - _BOTTOM) * (1 - y / top):.1f}"

    # As many to a line as fit: a letter takes some 6.5 units.
    entry = 34 + 6.5 * max(map(len, lines))
    columns = max(1, int((WIDTH - 10) // entry))
    legend = 18 * -(-len(lines) // columns)
    alt = f"Validation NDCG@10 by epoch of the models trained on {source}"
    parts = opened(_HEIGHT + legend, alt, top, down)
    parts += [words(across(x), _HEIGHT - 8, f"{x:g}", "middle") for x in (first, last)]
    for index, (model, seeds) in enumerate(lines.items()):
        colour = f'class="c{index % COLOURS}"'
        for line in seeds:
            joined = " ".join(f"{across(x)},{down(y)}" for x, y in line)
            parts.append(f'<polyline {colour} points="{joined}"/>')
        left, middle = 10 + (index % columns) * entry, _HEIGHT + 12 + 18 * (index // columns)
        parts.append(
            f'<line {colour} x1="{left:g}" x2="{left + 18:g}" y1="{middle}" y2="{middle}"/>'
        )
        parts.append(f'<text x="{left + 24:g}" y="{middle + 4}">{markup_text(model)}</text>')
    best = {model: max(y for line in seeds for _, y in line) for model, seeds in lines.items()}
    said = ", ".join(f"{model} {100 * value:.2f}" for model, value in best.items())
    return Drawing(
        f"curves_{source}",
        f"Trained on {source}; the best value of each model: {said}.",
        alt,
        "".join([*parts, "</svg>"]),
    )
