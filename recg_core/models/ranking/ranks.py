"""The RANKS table in memory: ranks of the same users by every seed of a model.

Legend: U users, S seeds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.schema import RANKS


@dataclass(frozen=True)
class SeedRanks:
    """Where the test item of each user stands in the full catalogue, int32."""

    users: np.ndarray  # [U], user_idx
    seeds: np.ndarray  # [S]
    num_candidates: np.ndarray  # [U], the same for all seeds
    num_higher: np.ndarray  # [U, S]
    num_ties: np.ndarray  # [U, S]

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


def ranks_of_frame(frame: pl.DataFrame, label: str) -> SeedRanks:
    """The arrays of a RANKS table, users in ascending order.

    Args:
        label: what the table is, named in errors.

    Raises:
        UserError: when it has no rows or its users do not all have the same seeds.
    """
    if frame.is_empty():
        raise UserError(
            f"{label}: the ranks table has no rows: no user has an item to be tested on"
        )
    frame = frame.sort("user_idx")
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
    return SeedRanks(
        frame["user_idx"].to_numpy(), seeds[0], frame["num_candidates"].to_numpy(), higher, ties
    )


def read_ranks(path: Path) -> SeedRanks:
    """Read a ranks file.

    Raises:
        UserError: when it is missing, damaged, empty or uneven.
    """
    return ranks_of_frame(RANKS.read(path), str(path))
