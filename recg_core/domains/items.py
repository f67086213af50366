"""The items of a preprocessed domain."""

from pathlib import Path

import polars as pl

from recg_core.base.schema import ITEMS

ITEMS_FILE = "items.parquet"


def load_items(folder: Path) -> pl.DataFrame:
    """The ITEMS frame of a domain's folder.

    Raises:
        UserError: when the file is missing or not of the schema.
    """
    return ITEMS.read(folder / ITEMS_FILE)
