"""The RANKS table in memory: ranks of the same users by every seed of a model.

Legend: U users, S seeds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.schema import RANKS

CONTEXTS = "contexts"  # a folder of ranks that are no cells: with parts of a target's histories


@dataclass(frozen=True)
class SeedRanks:
    """Where the test item of each user stands in the full catalogue, int32."""

    users: np.ndarray  # [U], user_idx
    seeds: np.ndarray  # [S]
    num_candidates: np.ndarray  # [U], the same for all seeds
    num_higher: np.ndarray  # [U, S]
    num_ties: np.ndarray  # [U, S]

    def of_users(self, users: np.ndarray) -> "SeedRanks":
        """The ranks of those of `users` who have some."""
        rows = np.isin(self.users, users)
        found = (self.num_candidates[rows], self.num_higher[rows], self.num_ties[rows])
        return SeedRanks(self.users[rows], self.seeds, *found)

    def to_frame(self) -> pl.DataFrame:
        """The RANKS table."""
        return pl.DataFrame(
            {
                "user_idx": self.users,
                "num_candidates": self.num_candidates,
                "seed": np.broadcast_to(self.seeds, self.num_higher.shape),
                "num_higher": self.num_higher,
                "num_ties": self.num_ties,
            },
            schema=RANKS.columns,
        )


def read_ranks(source: Path | bytes, label: str = "") -> SeedRanks:
    """Read a ranks file or its bytes; users in ascending order.

    Args:
        label: names the source in errors, which a path does itself.

    Raises:
        UserError: when it is missing, damaged or empty, or its users do not all have the same
            seeds.
    """
    label = label or str(source)
    frame = RANKS.read(source, label).sort("user_idx")
    if frame.is_empty():
        raise UserError(
            f"{label}: the ranks table has no rows: no user has an item to be tested on"
        )
    num_seeds = len(frame["seed"][0])
    try:
        seeds, higher, ties = (
            frame[name].list.to_array(num_seeds).to_numpy()
            for name in ("seed", "num_higher", "num_ties")
        )
    except pl.exceptions.PolarsError:
        seeds = None
    if seeds is None or (seeds != seeds[0]).any():
        raise UserError(f"{label}: not every user has a rank for every seed; evaluate again")
    users, candidates = (frame[name].to_numpy() for name in ("user_idx", "num_candidates"))
    return SeedRanks(users, seeds[0], candidates, higher, ties)
