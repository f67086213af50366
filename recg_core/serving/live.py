"""A catalogue that many threads read while it grows, and that a restart finds as it was."""

import copy
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from recg_core.base.errors import UserError
from recg_core.serving.catalogue import Catalogue
from recg_core.serving.eventlog import EventLog
from recg_core.serving.search import TitleSearch
from recg_core.serving.tables import read_catalogue

log = logging.getLogger(__name__)

EVENT = {"user_id": pl.String, "item_id": pl.String}


class LiveCatalogue:
    """A catalogue, the log of what was added to it, and the index of its titles.

    Readers take `catalogue` once and use that: it never changes. One thread at a time adds: to a
    copy, then to the log, and only when that is on disk does the copy become the catalogue. A
    context is read again beside the requests, which go by the former one meanwhile.

    Attributes:
        catalogue: as it is now.
        search: of its titles.
    """

    def __init__(self, catalogue: Catalogue, events: EventLog | None = None) -> None:
        """Add to `catalogue` what the log holds.

        Args:
            events: the log; None: what is added ends with the process.

        Raises:
            UserError: when the log is damaged or does not fit the catalogue.
        """
        self.catalogue = copy.copy(catalogue)
        self.search = TitleSearch()
        self._log = events
        self._adding = threading.Lock()
        self._reading = threading.Lock()
        if events is not None:
            self._replay(events)
        self.catalogue.read_again()
        self.catalogue.rereads = False
        self.search.add(self.catalogue.items.select("item_id", "title").iter_rows())

    @property
    def log_size(self) -> int:
        """Bytes of the log."""
        return 0 if self._log is None else self._log.size

    def add_items(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Add items by the columns of the catalogue, and say how many came.

        Those without text are left out, and of several with one id all but the first.

        Raises:
            UserError: when one cannot be added, or the log not be written; then none is.
        """
        columns = self.catalogue.items.columns
        if unknown := sorted({name for row in rows for name in row} - set(columns)):
            raise UserError(f"items: have no field(s) {unknown}; theirs are {columns}")
        table = {name: [_text(row.get(name)) for row in rows] for name in columns}
        frame = pl.DataFrame(table, schema=dict.fromkeys(columns, pl.String))
        new = read_catalogue(frame, {name: name for name in columns})
        with self._adding:
            grown = copy.copy(self.catalogue)
            grown.extend_items(new)
            self._append({"items": new.select(columns).to_dicts()})
            self.catalogue = grown
            # Last, so that nothing is found that the catalogue does not have.
            self.search.add(new.select("item_id", "title").iter_rows())
        self._keep_up()
        return len(new)

    def add_events(self, rows: Sequence[tuple[str, str]]) -> list[str]:
        """Add events, and say which of their items the catalogue does not have.

        Args:
            rows: (user_id, item_id) in the spelling of `canonical_text`, a user's oldest first.

        Raises:
            UserError: when the log cannot be written; then none is added.
        """
        new = pl.DataFrame(rows, schema=EVENT, orient="row")
        with self._adding:
            grown = copy.copy(self.catalogue)
            grown.extend_histories(new)
            self._append({"events": new.rows()})
            self.catalogue = grown
        self._keep_up()
        return grown.unknown_items(new["item_id"].unique(maintain_order=True))

    def _keep_up(self) -> None:
        """Read a context that is behind again, in a thread of its own."""
        if self.catalogue.is_behind() and not self._reading.locked():
            threading.Thread(target=self._read_again, name="read-again", daemon=True).start()

    def _read_again(self) -> None:
        with self._reading:
            while self.catalogue.is_behind():
                past = copy.copy(self.catalogue)
                past.read_again()
                with self._adding:
                    present = copy.copy(self.catalogue)
                    present.take_evidence(past)
                    self.catalogue = present
        self._keep_up()  # what was added after the last look, by who saw this one at work

    def _append(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.append(record)

    def _replay(self, events: EventLog) -> None:
        """All items, then all events: a history is the same in whatever order they came."""
        items: list[dict[str, Any]] = []
        visits: list[tuple[str, str]] = []
        for record in events.read():
            items += record.get("items", [])
            visits += record.get("events", [])
        new = set(self.catalogue.unknown_items(row["item_id"] for row in items))
        if there := len(items) - len(new):
            log.warning("%s: %d of its items are in the table of items by now", events.path, there)
        if new:
            rows = [row for row in items if row["item_id"] in new]
            self.catalogue.extend_items(pl.DataFrame(rows, infer_schema_length=None))
        if visits:
            self.catalogue.extend_histories(pl.DataFrame(visits, schema=EVENT, orient="row"))
        log.info("%s: %d item(s) and %d event(s)", events.path, len(new), len(visits))


def _text(value: str | Sequence[str] | None) -> str | None:
    """A field; the parts of a list one after the other."""
    return value if value is None or isinstance(value, str) else " ".join(value)
