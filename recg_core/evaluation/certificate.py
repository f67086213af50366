"""A cell's certificate: what was ranked, and what the model saw of its target before."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.files import write_sealed_json
from recg_core.base.schema import LISTS, RANKS
from recg_core.models.ranking.ranks import SeedRanks

NO_SOURCE = "none"  # the source of a row that is trained on nothing
NOT_OF_LARGE = frozenset({"ease"})  # training-free rows that large catalogues are without
NUM_LISTED = 10  # items of a user's list


@dataclass(frozen=True)
class Saw:
    """What a model saw of the target before it was asked to rank there."""

    zero_shot: bool
    target_text_seen: bool
    target_interactions_used: bool
    user_overlap: float  # share of the target's test users that occur in the source, by user_id
    item_overlap: float  # share of the target's items that occur in the source, by item_id


@dataclass(frozen=True)
class Example:
    """What a cell's first seed recommends to one test user."""

    user: int  # user_idx
    items: tuple[int, ...]  # item_idx, the best first; none where all candidates score the same


@dataclass(frozen=True)
class Certificate:
    """Everything about a source -> target cell but its ranks."""

    backbone: str | None  # None: a training-free row
    variant: str  # of the backbone, or the training-free row's name
    source: str  # the domains that it was trained on, `IS`, or `IS+VG` of two
    target: str
    transfers: bool  # False: a model of item ids, evaluated on its source alone
    num_seeds: int
    num_users: int
    mean_candidates: float  # the test item and all items outside the user's history
    saw: Saw
    curve_sha256: str | None = None  # of the CSV of its training curves
    description: str = ""  # of the row, one sentence
    backbone_ranks: bool = True  # False: in other domains something else does, for all backbones
    examples: tuple[Example, ...] = ()
    listed: bool = False  # whether its lists are there


def lists_path(ranks: Path) -> Path:
    """Where a cell's LISTS table is, beside its ranks."""
    return ranks.with_suffix(".lists")


def write_cell(
    folder: Path,
    name: str,
    ranks: SeedRanks,
    saw: Saw,
    *,
    backbone: str | None,
    variant: str,
    source: str,
    target: str,
    transfers: bool = True,
    curve_sha256: str | None = None,
    description: str = "",
    backbone_ranks: bool = True,
    examples: tuple[Example, ...] = (),
    lists: pl.DataFrame | None = None,
) -> None:
    """Write a cell: `<name>.parquet` with its ranks, `<name>.lists` (Parquet as well) with its
    lists, if there are any, and then `<name>.json`, its certificate.

    See `Certificate` for what is said about the ranks.
    """
    certificate = Certificate(
        backbone=backbone,
        variant=variant,
        source=source,
        target=target,
        transfers=transfers,
        num_seeds=len(ranks.seeds),
        num_users=len(ranks.users),
        mean_candidates=float(np.mean(ranks.num_candidates)),
        saw=saw,
        curve_sha256=curve_sha256,
        description=description,
        backbone_ranks=backbone_ranks,
        examples=examples,
        listed=lists is not None,
    )
    if lists is not None:
        LISTS.write(lists, lists_path(folder / f"{name}.parquet"))
    RANKS.write(ranks.to_frame(), folder / f"{name}.parquet")
    write_sealed_json(folder / f"{name}.json", dataclasses.asdict(certificate))


def overlap_share(ids: Iterable[str], others: Iterable[str]) -> float:
    """The share of the distinct `ids` that are also in `others`; 0 when there are none."""
    distinct = set(ids)
    return len(distinct & set(others)) / max(len(distinct), 1)
