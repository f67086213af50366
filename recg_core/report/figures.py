"""Images made by other parts of the project, embedded with the numbers behind them."""

import base64
import hashlib
import os
from itertools import takewhile
from pathlib import Path
from typing import Any

from recg_core.base.access import reading
from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import is_sealed_json, read_json, read_sealed_json
from recg_core.report.layout import Entry, Figure, Number, Table

_DRAW = "draw it again: run the figures stage, or `recg sweep` for what it drew"
TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def load_figures(folder: Path, out: Path) -> list[Figure]:
    """Every `<name>.json` below `folder` with its image; none where there is no folder.

    A figure's JSON has `title`, `caption`, `alt`, `image` (a PNG or SVG beside it), `columns` and
    `rows`, the table of what the image shows. One that this project drew is sealed and has
    `image_sha256`; people may add others.

    Args:
        out: the report's folder, from which Markdown links to the images.

    Raises:
        UserError: when a JSON has other keys or its image is missing or of another type, or what
            this project drew is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; run the figures stage")
    return [
        build(_figure, _content(path), str(path), path=path, out=out)
        for path in sorted(folder.rglob("*.json"))
    ]


def _content(path: Path) -> Any:
    found = read_json(path)
    return read_sealed_json(path, _DRAW) if is_sealed_json(found) else found


def _figure(
    title: str, caption: str, alt: str, image: str, columns: list[str],
    rows: list[list[str | int | float | None]], path: Path, out: Path,
    image_sha256: str | None = None,
) -> Figure:  # fmt: skip
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"rows: expected {len(columns)} entries in each, as there are columns")
    file = path.with_name(image)
    if file.suffix not in TYPES:
        raise ValueError(f"image '{image}': expected one of {sorted(TYPES)}")
    if not file.is_file():
        raise UserError(f"{file}: no such file, though {path.name} names it")
    with reading(file):
        pixels = file.read_bytes()
    if image_sha256 not in (None, hashlib.sha256(pixels).hexdigest()):
        raise UserError(f"{file}: is damaged, its SHA-256 is not that in {path.name}; {_DRAW}")
    encoded = base64.b64encode(pixels).decode("ascii")
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


def _entry(value: str | float | None) -> Entry:
    if isinstance(value, str):
        return value
    return Number(value, form="d" if isinstance(value, int) else ".4g")
