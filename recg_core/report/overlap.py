"""Test users of a target who also occur in a source, which the paper's setting rules out.

It defines zero-shot recommendation for domains whose users are disjoint (its section 2); people who
shop in two categories of one store are in both.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.schema import SEQUENCES
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.cells import Cell, Cells


def without_overlap(cells: Cells, domains: Path) -> Cells:
    """The cells without the test users who occur in any source but the target itself.

    They are left out of all cells of the target, of those of other sources and in-domain too, so
    that all rows are compared over the same users.

    Args:
        domains: holds `<domain>/sequences.parquet`.

    Raises:
        UserError: when a table is missing or damaged, or no test user of a target is left.
    """
    kept: dict[str, np.ndarray] = {}
    found = dict(cells.by_key)
    for target in cells.grid.domains:
        of_target = cells.of_target(target)
        ranks = read_ranks(of_target[0].ranks)
        sources = [source for source in cells.grid.sources if source != target]
        ranks = ranks.of_users(_users_apart(target, sources, domains))
        if not len(ranks.users):
            raise UserError(
                f"report.drop_overlap_users: all test users of {target} are also in {sources}"
            )
        kept[target] = ranks.users
        for cell in of_target:
            found[cell.model, cell.source, target] = _reduced(cell, ranks)
    return replace(cells, by_key=found, users=kept)


def overlap_words(before: Cells, after: Cells) -> str:
    """How many test users of which target are left out."""
    counts = []
    for target in before.grid.domains:
        total, left = (c.of_target(target)[0].certificate.num_users for c in (before, after))
        counts.append(f"{total - left:,} of {total:,} on `{target}`")
    return (
        "Test users who also occur in another domain that was trained on are left out, in every "
        f"row: {', '.join(counts)}."
    )


def _users_apart(target: str, sources: list[str], domains: Path) -> np.ndarray:
    """The user_idx of the target's users who occur in none of the sources."""
    elsewhere = {user for source in sources for user in _users(domains / source).values()}
    users = _users(domains / target).items()
    return np.array([index for index, user in users if user not in elsewhere], dtype=np.int32)


def _users(folder: Path) -> Mapping[int, str]:
    frame = SEQUENCES.read(folder / "sequences.parquet")
    return dict(zip(frame["user_idx"], frame["user_id"], strict=True))


def _reduced(cell: Cell, ranks: SeedRanks) -> Cell:
    """The cell with a certificate of the users of `ranks` alone."""
    own = cell.source == cell.target
    certificate = replace(
        cell.certificate,
        num_users=len(ranks.users),
        mean_candidates=float(np.mean(ranks.num_candidates)),
        saw=replace(cell.saw, user_overlap=cell.saw.user_overlap if own else 0.0),
        examples=tuple(e for e in cell.certificate.examples if e.user in ranks.users),
    )
    return replace(cell, certificate=certificate)
