"""Images made by other parts of the project, embedded with the numbers behind them."""

import base64
import os
from itertools import takewhile
from pathlib import Path
from typing import Any

from recg_core.base.access import reading
from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.report.layout import Figure, Number, Table

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def load_figures(folder: Path, out: Path) -> list[Figure]:
    """Every `<name>.json` below `folder` with its image; none where there is no folder.

    A figure's JSON has `title`, `caption`, `alt`, `image` (a PNG or SVG beside it), `columns` and
    `rows`, the table of what the image shows.

    Args:
        out: the report's folder, from which Markdown links to the images.

    Raises:
        UserError: when a JSON has other keys or its image is missing or of another type.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; run the figures stage")
    return [
        build(_figure, read_json(path), str(path), path=path, out=out)
        for path in sorted(folder.rglob("*.json"))
    ]


def _figure(
    title: str, caption: str, alt: str, image: str, columns: list[str], rows: list[Any],
    path: Path, out: Path,
) -> Figure:  # fmt: skip
    file = path.with_name(image)
    if file.suffix not in TYPES:
        raise ValueError(f"image '{image}': expected one of {sorted(TYPES)}")
    if not file.is_file():
        raise UserError(f"{file}: no such file, though {path.name} names it")
    with reading(file):
        encoded = base64.b64encode(file.read_bytes()).decode("ascii")
    labels = takewhile(lambda entry: isinstance(entry, str), rows[0] if rows else columns)
    table = Table(
        path.stem,
        f"{title}: the numbers",
        "",
        len(list(labels)),
        tuple(columns),
        tuple(tuple(_entry(value) for value in row) for row in rows),
    )
    return Figure(
        title, caption, alt, f"data:{TYPES[file.suffix]};base64,{encoded}",
        Path(os.path.relpath(file, out)).as_posix(), table,
    )  # fmt: skip


def _entry(value: Any) -> str | Number:
    if isinstance(value, str):
        return value
    return Number(value, form="d" if isinstance(value, int) else ".4g")
