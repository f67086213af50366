"""Recommendations as files."""

import json
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.files import atomic_path


def write_recommendations(found: pl.DataFrame, path: Path) -> None:
    """Write what `Catalogue.recommend_batch` returns as CSV, JSON lines or Parquet, by its name.

    CSV has no lists: there `because` is JSON.

    Raises:
        UserError: when the name ends in something else, or the file cannot be written.
    """
    if path.suffix not in (".csv", ".jsonl", ".parquet"):
        raise UserError(f"{path}: expected a name that ends in .csv, .jsonl or .parquet")
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            found.write_parquet(temporary)
        elif path.suffix == ".jsonl":
            found.write_ndjson(temporary)
        else:
            reasons = [
                json.dumps(reason, ensure_ascii=False) for reason in found["because"].to_list()
            ]
            found.with_columns(because=pl.Series(reasons, dtype=pl.String)).write_csv(temporary)
