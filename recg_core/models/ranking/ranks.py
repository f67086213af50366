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
        shape = self.num_higher.shape
        return pl.DataFrame(
            {
                "user_idx": self.users,
                "num_candidates": self.num_candidates,
                "seed": _lists(np.broadcast_to(self.seeds, shape)),
                "num_higher": _lists(self.num_higher),
                "num_ties": _lists(self.num_ties),
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
    seeds = frame["seed"][0].to_numpy()
    shape = (frame.height, len(seeds))
    flat = {name: frame[name].explode(empty_as_null=False).to_numpy() for name in _LISTS}
    if not all(
        len(values) == shape[0] * shape[1] for values in flat.values()
    ) or not np.array_equal(flat["seed"].reshape(shape), np.broadcast_to(seeds, shape)):
        raise UserError(f"{label}: not every user has a rank for every seed; evaluate again")
    return SeedRanks(
        frame["user_idx"].to_numpy(),
        seeds,
        frame["num_candidates"].to_numpy(),
        flat["num_higher"].reshape(shape),
        flat["num_ties"].reshape(shape),
    )


def read_ranks(path: Path) -> SeedRanks:
    """Read a ranks file.

    Raises:
        UserError: when it is missing, damaged, empty or uneven.
    """
    return ranks_of_frame(RANKS.read(path), str(path))


_LISTS = ("seed", "num_higher", "num_ties")


def _lists(values: np.ndarray) -> pl.Series:
    array = pl.Series(np.ascontiguousarray(values, dtype=np.int32).ravel())
    return array.reshape(values.shape).arr.to_list()
