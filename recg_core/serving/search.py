"""Items by the words of their titles: SQLite's full-text index, in memory."""

import re
import sqlite3
import threading
from collections.abc import Iterable

MAX_WORDS = 16  # of a query; the others are left out


class TitleSearch:
    """Finds items by words, whatever their case and accents; a word may be the start of one.

    Rows are ranked by BM25, equal ones by the order in which they came. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.execute(
            "CREATE VIRTUAL TABLE titles USING fts5 (title, item_id UNINDEXED, "
            "tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3')"
        )

    def add(self, items: Iterable[tuple[str, str]]) -> None:
        """Add items (item_id, title)."""
        with self._lock, self._base:
            self._base.executemany("INSERT INTO titles (item_id, title) VALUES (?, ?)", items)

    def find(self, text: str, k: int) -> list[tuple[str, str]]:
        """The `k` best items (item_id, title): with all words, or else with any of them."""
        # Quoted, a word has no meaning in the language of queries.
        words = [f'"{word}"*' for word in re.findall(r"\w+", text)[:MAX_WORDS]]
        for query in (" AND ".join(words), " OR ".join(words)):
            if query and (found := self._matches(query, k)):
                return found
        return []

    def _matches(self, query: str, k: int) -> list[tuple[str, str]]:
        with self._lock:
            return self._base.execute(
                "SELECT item_id, title FROM titles WHERE titles MATCH ? ORDER BY rank, rowid "
                "LIMIT ?",
                (query, k),
            ).fetchall()
