"""The items of a raw folder: cleaned texts on disk, ids in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from recg_core.raw.rejects import Rejects
from recg_core.raw.spill import DividedSpill, FrameSpill
from recg_core.raw.textclean import clean_text

TEXT_ROWS = 1 << 16  # texts that are in memory at a time
TextRule = Literal["features_or_description", "title", "any"]

# For each rule the columns of which at least one must hold text; none: any column.
TEXT_RULES: dict[TextRule, tuple[str, ...]] = {
    "features_or_description": ("features", "description"),
    "title": ("title",),
    "any": (),
}


@dataclass(frozen=True)
class RawItems:
    """All items with metadata, numbered in the order of the file."""

    items: pl.DataFrame  # item int32 0..N-1, item_id, line, usable: has text by the rule
    num_repeated: int  # usable rows of an item that has another before, or one with text
    _spill: FrameSpill  # line, item_id, texts

    def texts(self, items: np.ndarray) -> Iterator[pl.DataFrame]:
        """(item_id, title, features, description, …) of the given items, ordered by item_id.

        In frames of `TEXT_ROWS` rows, of which there is at least one.
        """
        ranks = self.items[items].sort("item_id").select("line").with_row_index("rank")
        num_parts = max(-(-len(items) // TEXT_ROWS), 1)
        columns = {**self._spill.columns, "rank": pl.UInt32}
        by_rank = DividedSpill(self._spill.path.with_suffix(".by_id"), columns, num_parts)
        for frame in self._spill.frames():
            chosen = frame.join(ranks, on="line")
            by_rank.append(chosen, (chosen["rank"] // TEXT_ROWS).to_numpy())
        for part in range(num_parts):
            yield by_rank.part(part).sort("rank").drop("line", "rank")
        by_rank.delete()


def read_raw_items(
    frames: Iterator[pl.DataFrame], text_rule: TextRule, spill_file: Path, rejects: Rejects
) -> RawItems:
    """Clean and keep the items of `frames` (see `records.read_items`).

    Of several rows of an item the first with text by the rule counts, else the first.

    Args:
        spill_file: where the texts are kept meanwhile.
        rejects: takes the unusable lines.
    """
    spill = FrameSpill(spill_file)
    found = [EMPTY]
    for frame in frames:
        good = rejects.split(frame)
        texts = [column for column in good.columns if column not in ("line", "item_id")]
        good = good.with_columns(clean_text(good[column]) for column in texts)
        spill.append(good)
        usable = pl.any_horizontal(pl.col(c) != "" for c in TEXT_RULES[text_rule] or texts)
        found.append(good.select("line", "item_id", usable=usable))
    spill.close()
    rows = pl.concat(found)
    items = rows.sort("usable", descending=True, maintain_order=True).unique(
        "item_id", keep="first", maintain_order=True
    )
    numbered = items.sort("line").with_row_index("item").with_columns(pl.col("item").cast(pl.Int32))
    return RawItems(numbered, rows.height - items.height, spill)


EMPTY = pl.DataFrame(schema={"line": pl.Int64, "item_id": pl.String, "usable": pl.Boolean})
