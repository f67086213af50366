"""The report's folders of many small files, each written as a whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from recg_core.base.errors import UserError
from recg_core.base.files import new_folder
from recg_core.report.analysis import Analysis
from recg_core.report.cells import metrics_folder
from recg_core.report.layout import Table


def metrics_files(analysis: Analysis, protocol: str) -> dict[str, str]:
    """A JSON of nothing but metrics for each cell, `IS-VG/sasrec-recg.json`, by path."""
    return {
        f"{metrics_folder(cell.source, cell.target)}/{cell.model}.json": json.dumps(
            analysis.metrics(cell, protocol), indent=2
        )
        + "\n"
        for cell in analysis.cells.by_key.values()
    }


def table_files(tables: Sequence[Table]) -> dict[str, str]:
    """The tables as CSV and LaTeX, by name."""
    return {f"{table.name}.csv": table.csv() for table in tables} | {
        f"{table.name}.tex": table.latex() for table in tables
    }


def replace_files(folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` hold `files` and nothing else; it never holds a part of them.

    Args:
        folder: what an earlier call wrote there goes, whatever grid it was of.
        files: text by path below `folder`.

    Raises:
        UserError: when `folder` holds files of another kind, or the disk is full.
    """
    _check_replaceable(folder, {Path(name).suffix for name in files})
    with new_folder(folder) as temporary:
        for name, text in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _check_replaceable(folder: Path, suffixes: set[str]) -> None:
    """Refuse a folder of other content, which was named by mistake."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is no folder; name another")
    others = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in suffixes
    )
    if others:
        raise UserError(
            f"{folder}: would be replaced, but holds {others[0]}, which the report does not write; "
            "name another folder"
        )
