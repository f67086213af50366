"""Histories by the numbers of a catalogue's items."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recg_core.domains.sequences import Ragged


@dataclass(frozen=True)
class Histories:
    """What users have met, oldest first, by item_idx of a catalogue.

    More events, or more items, make another of it; what is there already is copied as flat arrays
    and not looked at again, so that one event more costs milliseconds beside millions.

    Attributes:
        user_ids: in the order of their first event.
        row_of: user_id -> row.
        items: a row a user, of the items that the catalogue has; it may be empty.
    """

    user_ids: list[str]
    row_of: dict[str, int]
    items: Ragged
    _unknown: dict[str, int]  # ids that the catalogue does not have -> -1, -2, …
    _events: Ragged  # a row a user, of all events: item_idx, or the number of an unknown id

    def with_events(self, found: pl.DataFrame, item_idx: Mapping[str, int]) -> "Histories":
        """With events (user_id, item_id) after those that are there.

        Args:
            found: a user's events oldest first.
            item_idx: of all items of the catalogue by their ids.
        """
        users, ids = (found[name].unique(maintain_order=True) for name in ("user_id", "item_id"))
        user_ids, row_of = self.user_ids, self.row_of
        if strangers := [user for user in users if user not in row_of]:
            user_ids = [*user_ids, *strangers]
            row_of = row_of | dict(zip(strangers, range(len(row_of), len(user_ids)), strict=True))
        unknown = self._unknown
        if new := [name for name in ids if name not in item_idx and name not in unknown]:
            unknown = unknown | {name: -1 - n for n, name in enumerate(new, start=len(unknown))}

        row_E = _replaced(found["user_id"], users, [row_of[user] for user in users])
        numbers = [item_idx[name] if name in item_idx else unknown[name] for name in ids]
        item_E = _replaced(found["item_id"], ids, numbers)
        known_E = item_E > 0
        items = _appended(self.items, row_E[known_E], item_E[known_E], len(user_ids))
        events = _appended(self._events, row_E, item_E, len(user_ids)) if unknown else items
        return Histories(user_ids, row_of, items, unknown, events)

    def with_items(self, item_idx: Mapping[str, int]) -> "Histories":
        """The same events of a catalogue with more items, some of which may have been unknown.

        Args:
            item_idx: of all items of the catalogue by their ids.
        """
        still = [name for name in self._unknown if name not in item_idx]
        if len(still) == len(self._unknown):
            return self
        unknown = {name: -1 - n for n, name in enumerate(still)}
        numbers = [item_idx[name] if name in item_idx else unknown[name] for name in self._unknown]
        values = self._events.values.copy()
        values[values < 0] = np.array(numbers, dtype=np.int32)[-1 - values[values < 0]]
        events = Ragged(values, self._events.offsets)
        return replace(self, items=_positive(events), _unknown=unknown, _events=events)


def no_histories() -> Histories:
    """Those of a catalogue that nobody has visited."""
    nothing = Ragged(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    return Histories([], {}, nothing, {}, nothing)


def _replaced(values: pl.Series, distinct: pl.Series, numbers: list[int]) -> np.ndarray:
    """The number of each value, int32."""
    of = pl.DataFrame({"value": distinct, "number": pl.Series(numbers, dtype=pl.Int32)})
    joined = pl.DataFrame({"value": values}).join(of, on="value", maintain_order="left")
    return joined["number"].to_numpy()


def _appended(rows: Ragged, row_E: np.ndarray, value_E: np.ndarray, num_rows: int) -> Ragged:
    """With each value at the end of its row, in their order, and rows up to `num_rows`."""
    order = np.argsort(row_E, kind="stable")
    ends = np.full(num_rows, len(rows.values))
    ends[: len(rows)] = rows.offsets[1:]
    offsets = np.zeros(num_rows + 1, dtype=np.int64)
    offsets[1:] = ends + np.cumsum(np.bincount(row_E, minlength=num_rows))
    return Ragged(np.insert(rows.values, ends[row_E[order]], value_E[order]), offsets)


def _positive(rows: Ragged) -> Ragged:
    """The values above 0 of every row."""
    kept = rows.values > 0
    before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    return Ragged(rows.values[kept], before[rows.offsets])


def one_row(values: np.ndarray) -> Ragged:
    """Histories of a single user."""
    return Ragged(values.astype(np.int32), np.array([0, len(values)], dtype=np.int64))


def left_out(histories: Ragged) -> Ragged:
    """Each history, and it without its first item, without its second, …: L + 1 rows for each.

    A history of one item is never without it, since an empty one says nothing.
    """
    rows: list[np.ndarray] = []
    for start, end in zip(histories.offsets[:-1], histories.offsets[1:], strict=True):
        whole = histories.values[start:end]
        single = len(whole) == 1
        rows.append(whole)
        rows += [whole if single else np.delete(whole, place) for place in range(len(whole))]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    return Ragged(np.concatenate(rows).astype(np.int32), offsets)
