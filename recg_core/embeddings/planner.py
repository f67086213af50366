"""What a folder of embeddings is to hold, what of it is there, and what has to be computed."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recg_core.base.errors import UserError
from recg_core.domains.shards import read_shard, shard_name
from recg_core.encoders.text import render_texts, text_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be: its items, their texts' digests, and the name that follows from them."""

    name: str
    first_row: int  # of all items
    item_ids: list[str]
    text_sha256: list[str]


@dataclass(frozen=True)
class Task:
    """A shard that is not there, and the rows of it whose texts no shard holds and no task before.

    Each text so belongs to one task, whatever was finished before: an interrupted run encodes the
    same texts together as an unbroken one.
    """

    plan: ShardPlan
    new_rows: list[int]


@dataclass(frozen=True)
class Survey:
    """The shards of a folder that can be used, as they are or for their vectors."""

    names: frozenset[str]
    places: dict[str, Path]  # a shard for every text that is known, here or in other folders
    unusable: list[Path]  # damaged, or of another encoder


class ShardPlanner:
    """Items in the order of `item_idx`, laid out in shards of `rows_per_shard`.

    Only digests of the texts are kept: a text is rendered again when it is needed.
    """

    def __init__(
        self, items: pl.DataFrame, template: str, fingerprint: str, rows_per_shard: int
    ) -> None:
        self._items = items.sort("item_idx")
        self._template = template
        self.plans = [
            _plan(index, index * rows_per_shard, rows, template, fingerprint)
            for index, rows in enumerate(self._items.iter_slices(rows_per_shard))
        ]

    def texts(self, task: Task) -> list[str]:
        """The texts of the task's new rows."""
        rows = [task.plan.first_row + row for row in task.new_rows]
        return render_texts(self._items[rows], self._template)

    def tasks(self, survey: Survey) -> list[Task]:
        """The shards that the folder lacks, in their order."""
        return list(self._tasks(survey))

    def _tasks(self, survey: Survey) -> Iterator[Task]:
        taken = set(survey.places)
        for plan in self.plans:
            if plan.name in survey.names:
                continue
            new_rows = []
            for row, key in enumerate(plan.text_sha256):
                if key not in taken:
                    taken.add(key)
                    new_rows.append(row)
            yield Task(plan, new_rows)


def survey_shards(folder: Path, fingerprint: str, others: Sequence[Path] = ()) -> Survey:
    """Read and check every shard in `folder`; nothing is changed.

    Args:
        others: folders whose shards count for their vectors alone.
    """
    names, unusable = set(), []
    places: dict[str, Path] = {}
    for path in _shards_in(folder):
        texts = _texts_of(path, fingerprint)
        if texts is None:
            unusable.append(path)
            continue
        names.add(path.name)
        for key in texts:
            places.setdefault(key, path)
    for path in (path for other in others for path in _shards_in(other)):
        if path.name not in names:  # equal names have equal texts
            for key in _texts_of(path, fingerprint) or ():
                places.setdefault(key, path)
    return Survey(frozenset(names), places, unusable)


def _shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _texts_of(path: Path, fingerprint: str) -> list[str] | None:
    """The digests of the texts of an intact shard of that encoder; None for any other."""
    try:
        found, shard = read_shard(path)
    except UserError as error:
        logger.warning("not used: %s", error)
        return None
    return shard.text_sha256 if found == fingerprint else None


def _plan(
    index: int, first_row: int, rows: pl.DataFrame, template: str, fingerprint: str
) -> ShardPlan:
    item_ids: Sequence[str] = rows["item_id"].to_list()
    hashes = [text_sha256(text) for text in render_texts(rows, template)]
    name = shard_name(index, fingerprint, item_ids, hashes)
    return ShardPlan(name, first_row, list(item_ids), hashes)
