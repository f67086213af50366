"""A few test users of each target: what they had, what came next, and what rows recommend."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.sequences import load_sequences
from recg_core.evaluation.certificate import Example
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.analysis import Analysis, View
from recg_core.report.cells import INTERACTIONS_MARK, Cell
from recg_core.report.config import FULL
from recg_core.report.layout import Entry, Section, Table
from recg_core.report.wording import title_of

NUM_PLACES = 5  # of a history, and of recommendations
FOUND = "✓"  # beside the item that came next
_TITLE = 70  # characters of a title


def examples_section(analysis: Analysis, domains: Path) -> Section:
    """A table a target; empty where nothing zero-shot is compared.

    Args:
        domains: holds `<domain>/items.parquet` and `sequences.parquet`.

    Raises:
        UserError: when those are missing or damaged, or not what the cells were ranked in.
    """
    view = analysis.view(FULL, analysis.config.headline[1])
    tables = [
        _table(target, shown, domains)
        for target in analysis.cells.large
        if (shown := _best_cells(view, target))
    ]
    words = (
        "Test users drawn by chance, not by how well they come out, and the rows that are best on "
        f"the target by {title_of(view.metric)}: trained elsewhere, training-free and, where there "
        f"are some, trained elsewhere with the counts of its histories (†). {FOUND}: what the user "
        "did take next."
    )
    return Section("Recommendations", (words,) if tables else (), tuple(tables))


def _best_cells(view: View, target: str) -> list[Cell]:
    """The best zero-shot cell and training-free row without interactions; the best with.

    Rows that put no item before another, and so recommend none, are left out.
    """
    of_target = [
        cell
        for cell in view.analysis.cells.of_target(target)
        if any(example.items for example in cell.certificate.examples)
    ]
    elsewhere = [cell for cell in of_target if cell.trained and not cell.in_domain]
    groups = (
        [cell for cell in elsewhere if not cell.saw.target_interactions_used],
        [c for c in of_target if not c.trained and not c.saw.target_interactions_used],
        [cell for cell in elsewhere if cell.saw.target_interactions_used],
    )
    return [view.best(group) for group in groups if group] if elsewhere else []


def _table(target: str, shown: Sequence[Cell], domains: Path) -> Table:
    """The users one after the other: a row a place, and one for what came next."""
    titles = _titles(domains / target / "items.parquet")
    holdout = load_sequences(domains / target / "sequences.parquet").holdout("test")
    ranks = [read_ranks(cell.ranks) for cell in shown]
    rows: list[tuple[Entry, ...]] = []
    for examples in zip(*(cell.certificate.examples for cell in shown), strict=True):
        user = examples[0].user
        row = _row_of(user, holdout.users, str(domains / target))
        history = holdout.history.take(np.array([row]), last=NUM_PLACES).values[::-1].tolist()
        next_item = int(holdout.target[row])
        rows += _places(str(user), titles, history, examples, next_item)
        places = [_rank(of_cell, _row_of(user, of_cell.users, target)) for of_cell in ranks]
        rows.append((str(user), "next", titles[next_item], *places))
    heads = [
        f"{cell.model}{' from ' + cell.source if cell.trained else ''}"
        f"{INTERACTIONS_MARK if cell.saw.target_interactions_used else ''}"
        for cell in shown
    ]
    return Table(
        f"examples_{target}",
        f"Users of {target}",
        "Rows 1 to 5: the history, latest first, beside the first recommendations; `next`: what "
        "came next, and its rank among all items outside the history.",
        2,
        ("User", "Place", "History", *heads),
        tuple(rows),
        words=True,
    )


def _row_of(user: int, users: np.ndarray, label: str) -> int:
    """Where a user stands among `users`, which ascend."""
    row = int(np.searchsorted(users, user))
    if row == len(users) or users[row] != user:
        raise UserError(
            f"{label}: has no test user {user}, to whom its cells recommend; run the evaluate and "
            "the baselines stage again"
        )
    return row


def _places(
    user: str, titles: dict[int, str], history: Sequence[int], examples: Sequence[Example],
    next_item: int,
) -> Iterator[tuple[Entry, ...]]:  # fmt: skip
    for place in range(NUM_PLACES):
        found = [_at(titles, example.items, place, next_item) for example in examples]
        yield user, str(place + 1), _at(titles, history, place), *found


def _at(
    titles: dict[int, str], items: Sequence[int], place: int, next_item: int | None = None
) -> str:
    if place >= len(items):
        return "-"
    item = items[place]
    return f"{FOUND} {titles[item]}" if item == next_item else titles[item]


def _rank(ranks: SeedRanks, row: int) -> str:
    """Where the first seed ranked the test item."""
    first, ties = int(ranks.num_higher[row, 0]) + 1, int(ranks.num_ties[row, 0])
    place = f"{first:,}" if not ties else f"{first:,} to {first + ties:,}"
    return f"rank {place} of {ranks.num_candidates[row]:,}"


def _titles(path: Path) -> dict[int, str]:
    """The beginning of every item's title, or its id where it has none."""
    frame = ITEMS.read(path)
    names = zip(frame["item_idx"], frame["title"], frame["item_id"], strict=True)
    return {item: _short(title.strip() or item_id) for item, title, item_id in names}


def _short(text: str) -> str:
    return text if len(text) <= _TITLE else f"{text[: _TITLE - 1].rstrip()}…"
