"""From raw interactions and item texts to the tables of one domain.

The order is that of the official 5-core files: parse, drop repeated (user, item) pairs keeping
the earliest, drop items without usable text, k-core over users and items to a fixed point, sort
each user by time. Interactions are never all in memory, nor are texts: see `interactions`.
"""

import datetime
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import replaced_folder, write_sealed_json
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.interactions import (
    READ,
    Core,
    Dropped,
    Wanted,
    divide_by_user,
    find_core,
)
from recg_core.domains.items import ITEMS_FILE
from recg_core.domains.splits import Cuts, own_cuts
from recg_core.domains.tables import (
    Totals,
    item_frames,
    item_numbers,
    sequence_frames,
    sorted_file,
)
from recg_core.raw.items import TEXT_RULES, RawItems, TextRule, read_raw_items
from recg_core.raw.records import read_items
from recg_core.raw.rejects import Rejects, write_rejects
from recg_core.raw.source import RawTable, Source, read_source
from recg_core.raw.spill import DividedSpill

log = logging.getLogger(__name__)

SEQUENCES_FILE = "sequences.parquet"
REJECTS_FILE, STATS_FILE = "rejects.jsonl", "stats.json"
# What to do about the commonest reasons to reject a line, where the file itself may be right.
REMEDIES = {
    "stray_quote": "if quotes are characters like others there, set `quotes: none`",
    "wrong_number_of_columns": "see whether every line has the fields that the header names",
    "not_utf8": "set the file's `encoding:`",
    "unknown_item": "see whether both tables name items in the same way",
}


@dataclass(frozen=True)
class PreprocessConfig:
    """How raw records become a domain.

    Attributes:
        k_core: interactions that every user and every item must have; 1 keeps all.
        text_rule: the text an item must have after cleaning: features or description (the
            paper's rule), a title, or any text.
        split: leave_one_out; temporal, at the domain's own times; or at those that are given.
            `recg_core.domains.splits` says what each means.
        max_reject_share: the share of lines of each table that may be unusable.
        min_rating: the least rating of an interaction that counts; null: all count.
        repeats: of a user's interactions with the same item the first alone or all.
    """

    k_core: int
    text_rule: TextRule
    split: Literal["leave_one_out", "temporal"] | Cuts
    max_reject_share: float
    min_rating: float | None = None
    repeats: Literal["first", "all"] = "first"

    def __post_init__(self) -> None:
        if self.k_core < 1:
            raise ValueError(f"k_core must be 1 or more, got {self.k_core}")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(f"max_reject_share must be in 0..1, got {self.max_reject_share}")


def config_of_domain(section: Mapping[str, Any], domain: str) -> PreprocessConfig:
    """The section `preprocess` of params.yaml for a domain, whose own keys in `domains` count more.

    Raises:
        UserError: on a wrong key or value, of any domain.
    """
    common = {key: value for key, value in section.items() if key != "domains"}
    config = build(PreprocessConfig, common, "preprocess")
    own = section.get("domains") or {}
    if not isinstance(own, Mapping):
        raise UserError("preprocess.domains: expected a section of domains, each with its keys")
    configs = {}
    for name, keys in own.items():
        address = f"preprocess.domains.{name}"
        if not isinstance(keys, Mapping):
            raise UserError(f"{address}: expected a section of keys")
        configs[name] = build(PreprocessConfig, {**common, **keys}, address)
    return configs.get(domain, config)


@dataclass(frozen=True)
class _Found:
    """What was read of a raw folder and what became of it."""

    source: Source
    raw_items: RawItems
    core: Core
    dropped: Dropped
    item_rejects: Rejects
    rejects: Rejects  # of interactions


def preprocess(
    raw: Path, out: Path, config: PreprocessConfig, on_ray: bool = False
) -> dict[str, Any]:
    """Write `items.parquet`, `sequences.parquet`, `rejects.jsonl` and `stats.json` of a domain.

    `item_idx` counts from 1 in the order of item_id, `user_idx` from 0 in the order of user_id
    (both by their UTF-8 bytes). The same input gives the same bytes. A domain without any
    interactions has all items with usable text and no sequences.

    Args:
        raw: a folder with a `source.json`.
        out: the domain's folder, which is replaced as a whole.
        on_ray: whether the files of interactions are read by Ray, on machines that all have `raw`
            and the place of `out` at the same path.

    Returns:
        What `stats.json` says. For interactions and for items, the lines read are those kept,
        those rejected (unusable as they stand) and those dropped (not wanted, or no record of
        their own), by reason.

    Raises:
        UserError: when the input is cut or damaged, too many lines are unusable, or nothing is
            left; `out` is then as before.
    """
    with replaced_folder(out, STATS_FILE) as folder:
        spill = folder / ".spill"
        spill.mkdir()
        found = _read(raw, spill, config, on_ray)
        core, raw_items = found.core, found.raw_items
        if found.rejects.num_records and not core.num_interactions:
            raise UserError(f"{raw}: {_why_empty(found, config)}")
        cuts = _cuts(raw, found, config.split, spill)
        used = core.items if core.num_interactions else raw_items.items["usable"].to_numpy()
        ITEMS.write_frames(item_frames(raw_items, used), folder / ITEMS_FILE)
        totals = Totals(spill / "known.bin")
        sequences = sequence_frames(core, item_numbers(raw_items, used), cuts, totals)
        SEQUENCES.write_frames(sequences, folder / SEQUENCES_FILE)
        write_rejects(folder / REJECTS_FILE, [found.item_rejects, found.rejects])
        stats = _stats(found, int(used.sum()), totals)
        write_sealed_json(folder / STATS_FILE, stats)
        shutil.rmtree(spill)
    _log(out.name, stats, config)
    return stats


def _read(raw: Path, spill: Path, config: PreprocessConfig, on_ray: bool) -> _Found:
    source = read_source(raw)
    _check_text_rule(raw, source.items, config)
    item_rejects = Rejects(source.items.files)
    frames = read_items(raw, source.items)
    raw_items = read_raw_items(frames, config.text_rule, spill / "items.arrow", item_rejects)
    _check_rejects(raw, item_rejects, "items", config)
    if not raw_items.items.height:
        raise UserError(f"{raw / source.items.files[0]}: holds no items")
    rejects = Rejects(() if source.interactions is None else source.interactions.files)
    wanted = Wanted(config.min_rating, config.repeats, config.k_core)
    divided, num_low = [DividedSpill(spill / "none.arrow", READ, 1)], 0
    if source.interactions is not None:
        table = _without_unused_rating(raw, source.interactions, config)
        found = divide_by_user(raw, table, source.timestamp_unit, spill, config.min_rating, on_ray)
        for each in found:
            rejects.merge(each.rejects)
        divided, num_low = [each.spill for each in found], sum(each.num_low for each in found)
    core, dropped = find_core(divided, raw_items, wanted, rejects, spill)
    _check_rejects(raw, rejects, "interactions", config)
    return _Found(
        source, raw_items, core, replace(dropped, low_rating=num_low), item_rejects, rejects
    )


def _check_text_rule(raw: Path, items: RawTable, config: PreprocessConfig) -> None:
    columns = TEXT_RULES[config.text_rule]
    if columns and not any(column in items.columns for column in columns):
        texts = sorted(set(items.columns) - {"item_id"})
        raise UserError(
            f"{raw / items.files[0]}: preprocess.text_rule = {config.text_rule} asks for a text "
            f"that the items do not have; their texts are {texts}"
        )


def _cuts(
    raw: Path, found: _Found, split: Literal["leave_one_out", "temporal"] | Cuts, spill: Path
) -> tuple[int, int] | None:
    """When training ends and the test begins; None where the split is not by time.

    Moments cut a domain whose interactions have a clock, and are not all over by then.
    """
    if split == "leave_one_out" or not found.core.num_interactions:
        return None
    if not isinstance(split, Cuts):
        return own_cuts(sorted_file(spill / "times.bin", found.core.timestamps()))
    if found.source.timestamp_unit == "order":
        raise UserError(
            f"{raw}: preprocess.split names moments, but the times of these interactions only "
            "order them; give the domain a split of its own in preprocess.domains"
        )
    latest = max(int(times.max(initial=0)) for times in found.core.timestamps())
    if latest < split.milliseconds[1]:
        last = datetime.datetime.fromtimestamp(latest / 1000, datetime.timezone.utc)
        raise UserError(
            f"{raw}: preprocess.split.test_start is {split.test_start}, but the last interaction "
            f"is of {last:%Y-%m-%d}; choose an earlier one"
        )
    return split.milliseconds


def _without_unused_rating(raw: Path, table: RawTable, config: PreprocessConfig) -> RawTable:
    if config.min_rating is not None and "rating" not in table.columns:
        raise UserError(
            f"{raw / table.files[0]}: preprocess.min_rating = {config.min_rating}, but no column "
            "is named as the rating"
        )
    if config.min_rating is None and "rating" in table.columns:
        columns = {role: column for role, column in table.columns.items() if role != "rating"}
        return replace(table, columns=columns)
    return table


def _check_rejects(raw: Path, rejects: Rejects, table: str, config: PreprocessConfig) -> None:
    if rejects.share > config.max_reject_share:
        reason, example = rejects.commonest()
        raise UserError(
            f"{raw / example.rsplit(':', 1)[0]}: {rejects.share:.2%} of "
            f"{rejects.num_records} lines of {table} are unusable, more than "
            f"preprocess.max_reject_share = {config.max_reject_share}; the commonest reason is "
            f"{reason} ({rejects.counts[reason]} lines, e.g. {example}); "
            f"{REMEDIES.get(reason, 'mend the file')}, or raise preprocess.max_reject_share"
        )


def _log(domain: str, stats: dict[str, Any], config: PreprocessConfig) -> None:
    log.info(
        "%s: %d users, %d items, %d interactions, mean length %.2f, %d lines rejected",
        domain,
        stats["num_users"],
        stats["num_items"],
        stats["num_interactions"],
        stats["mean_sequence_length"],
        sum(stats["rejected"]["interactions"].values()),
    )
    lost = stats["dropped"]["interactions"]
    reasons = {name: lost[name] for name in ("low_rating", "repeated", "no_text", "k_core")}
    num_records = stats["num_interactions"] + sum(reasons.values())
    if 2 * stats["num_interactions"] < num_records:
        parts = ", ".join(f"{count} by {name}" for name, count in reasons.items() if count)
        log.warning(
            "%s: only %d of %d interactions remain (%s); see k_core = %d and text_rule = %s of "
            "`preprocess`",
            domain,
            stats["num_interactions"],
            num_records,
            parts,
            config.k_core,
            config.text_rule,
        )


def _why_empty(found: _Found, config: PreprocessConfig) -> str:
    dropped = found.dropped
    num_items, num_usable = found.raw_items.items.height, found.raw_items.items["usable"].sum()
    if not dropped.num_users_before_core:
        return (
            f"preprocess.text_rule = {config.text_rule} leaves no interaction: {num_usable} of "
            f"{num_items} items have such text; choose another preprocess.text_rule"
        )
    return (
        f"preprocess.k_core = {config.k_core} leaves nothing of {dropped.num_users_before_core} "
        f"users and {dropped.num_items_before_core} items ({num_usable} of {num_items} items have "
        f"text by preprocess.text_rule = {config.text_rule}); lower preprocess.k_core"
    )


def _stats(found: _Found, num_items: int, totals: Totals) -> dict[str, Any]:
    num_users, num_interactions = totals.num_users, totals.num_interactions
    raw_items, dropped = found.raw_items, found.dropped
    usable = int(raw_items.items["usable"].sum())
    source = found.source
    tables = {"interactions": found.rejects, "items": found.item_rejects}
    lost = {
        "interactions": {
            "low_rating": dropped.low_rating,
            "repeated": dropped.repeated,
            "no_text": dropped.no_text,
            "k_core": dropped.k_core,
            "after_test": found.core.num_interactions - num_interactions,
        },
        "items": {
            "duplicate": raw_items.num_repeated,
            "no_text": raw_items.items.height - usable,
            "k_core": usable - num_items,
        },
    }
    return {
        "num_users": num_users,
        "num_items": num_items,
        "num_interactions": num_interactions,
        "mean_sequence_length": num_interactions / max(num_users, 1),
        "density": num_interactions / max(num_users * num_items, 1),
        "num_valid_users": totals.num_valid_users,
        "num_test_users": totals.num_test_users,  # with a history
        # Interactions at the same time as the user's one before: their order is the file's.
        "num_ties": totals.num_ties,
        # Where no clock tells there is none.
        "later_share": None if source.timestamp_unit == "order" else totals.later_share(),
        "read": {name: rejects.num_lines for name, rejects in tables.items()},
        "rejected": {name: rejects.counts for name, rejects in tables.items()},
        "dropped": {name: {**lost[name], **tables[name].no_records} for name in tables},
        "sha256": {
            "interactions": _digests(source, source.interactions),
            "items": _digests(source, source.items),
        },
    }


def _digests(source: Source, table: RawTable | None) -> list[str]:
    return [] if table is None else [source.sha256.get(name, "") for name in table.files]
