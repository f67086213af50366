"""From raw interactions and item texts to the tables of one domain.

The order is that of the official 5-core files: parse, drop repeated (user, item) pairs keeping
the earliest, drop items without usable text, k-core over users and items to a fixed point, sort
each user by time. Raw interactions are never all in memory: they are divided by user on disk and
treated part by part; what may be in the k-core remains, as numbers.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.base.files import replaced_folder, write_json
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.interactions import Core, Dropped, divide_by_user, find_core
from recg_core.domains.items import ITEMS_FILE
from recg_core.domains.splits import leave_one_out, temporal
from recg_core.raw.blocks import Advance
from recg_core.raw.items import RawItems, TextRule, read_raw_items
from recg_core.raw.records import read_interactions, read_items
from recg_core.raw.rejects import Rejects, write_rejects
from recg_core.raw.source import Source, read_source
from recg_core.raw.spill import UserSpill

log = logging.getLogger(__name__)

SEQUENCES_FILE = "sequences.parquet"
REJECTS_FILE, STATS_FILE = "rejects.jsonl", "stats.json"


@dataclass(frozen=True)
class PreprocessConfig:
    """How raw records become a domain.

    Attributes:
        k_core: interactions that every user and every item must have; 1 keeps all.
        text_rule: the text an item must have after cleaning: features or description (the
            paper's rule), a title, or any of the three.
        split: `recg_core.domains.splits` says what each means.
        max_reject_share: the share of lines of interactions that may be unusable.
    """

    k_core: int
    text_rule: TextRule
    split: Literal["leave_one_out", "temporal"]
    max_reject_share: float

    def __post_init__(self) -> None:
        if self.k_core < 1:
            raise ValueError(f"k_core must be 1 or more, got {self.k_core}")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"max_reject_share must be in 0..1, got {self.max_reject_share}")


@dataclass(frozen=True)
class _Found:
    """What was read of a raw folder and what became of it."""

    source: Source
    raw_items: RawItems
    num_lines: int  # of interactions
    core: Core
    dropped: Dropped
    item_rejects: Rejects
    rejects: Rejects  # of interactions


def preprocess(raw: Path, out: Path, config: PreprocessConfig) -> dict[str, Any]:
    """Write `items.parquet`, `sequences.parquet`, `rejects.jsonl` and `stats.json` of a domain.

    `item_idx` counts from 1 in the order of item_id, `user_idx` from 0 in the order of user_id
    (both by their UTF-8 bytes). The same input gives the same bytes.

    Args:
        raw: a folder with a `source.json`.
        out: the domain's folder, which is replaced as a whole.

    Returns:
        What `stats.json` says. For interactions and for items, the lines read are those kept,
        those rejected (unusable as they stand) and those dropped (not wanted), by reason.

    Raises:
        UserError: when the input is cut or damaged, too many lines are unusable, or nothing is
            left; `out` is then as before.
    """
    with replaced_folder(out, STATS_FILE) as folder:
        spill = folder / ".spill"
        spill.mkdir()
        found = _read(raw, spill, config)
        _check_rejects(raw, found, config)
        if not len(found.core.users):
            raise UserError(f"{raw}: {_why_empty(found, config)}")
        items, sequences = _tables(found.core, found.raw_items, config)
        ITEMS.write(items, folder / ITEMS_FILE)
        SEQUENCES.write(sequences, folder / SEQUENCES_FILE)
        write_rejects(folder / REJECTS_FILE, [found.item_rejects, found.rejects])
        stats = _stats(found, items, sequences)
        write_json(folder / STATS_FILE, stats)
        for path in spill.iterdir():
            path.unlink()
        spill.rmdir()
    log.info(
        "%s: %d users, %d items, %d interactions, mean length %.2f, %d lines rejected",
        out.name,
        stats["num_users"],
        stats["num_items"],
        stats["num_interactions"],
        stats["mean_sequence_length"],
        found.rejects.total,
    )
    return stats


def _read(raw: Path, spill: Path, config: PreprocessConfig) -> _Found:
    source = read_source(raw)
    item_rejects, rejects = Rejects(source.items.name), Rejects(source.interactions.name)
    with _progress(raw / source.items.name) as advance:
        frames = read_items(raw, source.items, advance)
        raw_items = read_raw_items(frames, config.text_rule, spill / "items.arrow", item_rejects)
    users = UserSpill(spill)
    with _progress(raw / source.interactions.name) as advance:
        frames = read_interactions(raw, source.interactions, source.timestamp_unit, advance)
        num_lines = divide_by_user(frames, users, rejects)
    core, dropped = find_core(users.parts(), raw_items, config.k_core, rejects)
    return _Found(source, raw_items, num_lines, core, dropped, item_rejects, rejects)


@contextmanager
def _progress(path: Path) -> Iterator[Advance]:
    """A bar over the bytes of a file, shown on a terminal only."""
    size = path.stat().st_size
    with tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update


def _check_rejects(raw: Path, found: _Found, config: PreprocessConfig) -> None:
    if not found.num_lines:
        raise UserError(f"{raw / found.rejects.file}: holds no interactions")
    share = found.rejects.total / found.num_lines
    if share > config.max_reject_share:
        reason, example = found.rejects.commonest()
        raise UserError(
            f"{raw / found.rejects.file}: {share:.2%} of {found.num_lines} lines are unusable, "
            f"more than preprocess.max_reject_share = {config.max_reject_share}; the commonest "
            f"reason is {reason} ({found.rejects.counts[reason]} lines, e.g. {example}); mend the "
            "file or raise preprocess.max_reject_share"
        )


def _why_empty(found: _Found, config: PreprocessConfig) -> str:
    dropped = found.dropped
    num_items, num_usable = found.raw_items.items.height, found.raw_items.items["usable"].sum()
    if not dropped.num_users_before_core:
        return (
            f"preprocess.text_rule = {config.text_rule} leaves no interaction: {num_usable} of "
            f"{num_items} items have such text; choose another preprocess.text_rule"
        )
    return (
        f"preprocess.k_core = {config.k_core} leaves nothing of {dropped.num_users_before_core} "
        f"users and {dropped.num_items_before_core} items ({num_usable} of {num_items} items have "
        f"text by preprocess.text_rule = {config.text_rule}); lower preprocess.k_core"
    )


def _tables(
    core: Core, raw_items: RawItems, config: PreprocessConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The two tables of a domain, ITEMS and SEQUENCES of `recg_core.base.schema`."""
    used_items = np.unique(core.items)
    texts = raw_items.texts(pl.Series(used_items))
    items = texts.with_row_index("item_idx", offset=1).with_columns(
        pl.col("item_idx").cast(pl.Int32)
    )
    used_users = np.unique(core.users)
    user_ids = core.user_ids.gather(used_users)
    item_idx = _ranks(used_items, raw_items.items["item_id"].gather(used_items))[core.items] + 1
    user_idx = _ranks(used_users, user_ids)[core.users]

    rows = np.argsort(user_idx, kind="stable")
    user_idx, item_idx, timestamps = user_idx[rows], item_idx[rows], core.timestamps[rows]
    lengths = np.bincount(user_idx)
    is_temporal = config.split == "temporal"
    split = temporal(timestamps, lengths) if is_temporal else leave_one_out(lengths)
    position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = position < np.repeat(split.length, lengths)
    sequences = pl.DataFrame(
        {
            "user_idx": np.arange(len(lengths), dtype=np.int32),
            "user_id": user_ids.sort(),
            "item_idx": _lists(item_idx[kept], split.length),
            "timestamp": _lists(timestamps[kept], split.length),
            "train_length": split.train_length,
            "valid_position": split.valid_position,
            "test_position": split.test_position,
        }
    )
    return items, sequences


def _ranks(numbers: np.ndarray, ids: pl.Series) -> np.ndarray:
    """An array that gives for each of `numbers` the position of its id among the sorted ids."""
    ranks = np.zeros(numbers[-1] + 1, dtype=np.int32)
    ranks[numbers[ids.arg_sort().to_numpy()]] = np.arange(len(numbers), dtype=np.int32)
    return ranks


def _lists(values: np.ndarray, lengths: np.ndarray) -> pl.Series:
    """`values` cut into lists of the given lengths, each 1 or more."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame({"row": rows, "value": values})
    return frame.group_by("row", maintain_order=True).agg("value")["value"]


def _stats(found: _Found, items: pl.DataFrame, sequences: pl.DataFrame) -> dict[str, Any]:
    num_users, num_items = sequences.height, items.height
    num_interactions = int(sequences["item_idx"].list.len().sum())
    raw_items, dropped = found.raw_items, found.dropped
    usable = int(raw_items.items["usable"].sum())
    return {
        "num_users": num_users,
        "num_items": num_items,
        "num_interactions": num_interactions,
        "mean_sequence_length": num_interactions / num_users,
        "density": num_interactions / (num_users * num_items),
        "num_valid_users": int((sequences["valid_position"] >= 0).sum()),
        "num_test_users": int((sequences["test_position"] >= 0).sum()),
        "read": {"interactions": found.num_lines, "items": raw_items.num_read},
        "rejected": {"interactions": found.rejects.counts, "items": found.item_rejects.counts},
        "dropped": {
            "interactions": {
                "repeated": dropped.repeated,
                "no_text": dropped.no_text,
                "k_core": dropped.k_core,
                "after_test": len(found.core.users) - num_interactions,
            },
            "items": {
                "no_text": raw_items.items.height - usable,
                "k_core": usable - num_items,
            },
        },
        "sha256": {
            "interactions": found.source.sha256.get(found.source.interactions.name, ""),
            "items": found.source.sha256.get(found.source.items.name, ""),
        },
    }
