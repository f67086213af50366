"""The items of a raw folder: cleaned texts on disk, ids in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from recg_core.raw.rejects import Rejects
from recg_core.raw.spill import FrameSpill
from recg_core.raw.textclean import clean_text

TextRule = Literal["features_or_description", "title", "any"]

# For each rule the columns of which at least one must hold text.
TEXT_RULES: dict[TextRule, tuple[str, ...]] = {
    "features_or_description": ("features", "description"),
    "title": ("title",),
    "any": ("title", "features", "description"),
}
TEXTS = ("title", "features", "description")


@dataclass(frozen=True)
class RawItems:
    """All items with metadata, numbered in the order of the file."""

    items: pl.DataFrame  # item int32 0..N-1, item_id, line, usable: has text by the rule
    num_read: int  # lines
    _spill: FrameSpill  # line, item_id, title, features, description

    def texts(self, items: pl.Series) -> pl.DataFrame:
        """(item_id, title, features, description) of the given items, ordered by item_id."""
        lines = self.items["line"].gather(items).implode()
        chosen = [frame.filter(pl.col("line").is_in(lines)) for frame in self._spill.frames()]
        return pl.concat(chosen).sort("item_id").select("item_id", *TEXTS)


def read_raw_items(
    frames: Iterator[pl.DataFrame], text_rule: TextRule, spill_file: Path, rejects: Rejects
) -> RawItems:
    """Clean and keep the items of `frames` (see `records.read_items`), the first of each id.

    Args:
        spill_file: where the texts are kept meanwhile.
        rejects: takes the unusable lines and those that repeat an id (`duplicate_item`).
    """
    spill = FrameSpill(spill_file)
    num_read = 0
    found = [EMPTY]
    for frame in frames:
        num_read += frame.height
        good = split_rejects(frame, rejects)
        good = good.with_columns(clean_text(good[column]) for column in TEXTS)
        spill.append(good.select("line", "item_id", *TEXTS))
        usable = pl.any_horizontal(pl.col(column) != "" for column in TEXT_RULES[text_rule])
        found.append(good.select("line", "item_id", usable=usable))
    spill.close()
    items = pl.concat(found)
    first = items.unique("item_id", keep="first", maintain_order=True)
    repeated = items.join(first, on="line", how="anti")
    rejects.add("duplicate_item", repeated["line"].to_numpy())
    numbered = first.with_row_index("item").with_columns(pl.col("item").cast(pl.Int32))
    return RawItems(numbered, num_read, spill)


EMPTY = pl.DataFrame(schema={"line": pl.Int64, "item_id": pl.String, "usable": pl.Boolean})


def split_rejects(frame: pl.DataFrame, rejects: Rejects) -> pl.DataFrame:
    """The rows without a `reason`; the lines of the others go to `rejects`."""
    bad = frame.filter(pl.col("reason").is_not_null())
    for (reason,), rows in bad.group_by("reason"):
        rejects.add(str(reason), rows["line"].to_numpy())
    return frame.filter(pl.col("reason").is_null()).drop("reason")
