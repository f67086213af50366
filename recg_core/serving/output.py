"""Recommendations as files."""

import json
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.files import atomic_path
from recg_core.report.escape import csv_text


def write_recommendations(found: pl.DataFrame, path: Path) -> None:
    """Write what `Catalogue.recommend_batch` returns as CSV, JSON lines or Parquet, by its name.

    CSV has no lists: there `because` is JSON.

    Raises:
        UserError: when the name ends in something else, or the file cannot be written.
    """
    check_name(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            found.write_parquet(temporary)
        elif path.suffix == ".jsonl":
            found.write_ndjson(temporary)
        else:
            _for_spreadsheets(found).write_csv(temporary)


def check_name(path: Path) -> None:
    """Refuse what `write_recommendations` does, before the work is done.

    Raises:
        UserError: when the name ends in something else.
    """
    if path.suffix not in (".csv", ".jsonl", ".parquet"):
        raise UserError(f"{path}: expected a name that ends in .csv, .jsonl or .parquet")


def _for_spreadsheets(found: pl.DataFrame) -> pl.DataFrame:
    """Without lists, and without titles that a spreadsheet would take for a formula."""
    reasons = [json.dumps(reason, ensure_ascii=False) for reason in found["because"].to_list()]
    return found.with_columns(
        title=pl.Series([csv_text(title) for title in found["title"]], dtype=pl.String),
        because=pl.Series(reasons, dtype=pl.String),
    )
