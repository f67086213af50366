"""Damaged input files: every line is kept, rejected or dropped, and what is kept is what it says.

The domain that `preprocess` makes of a damaged file is compared with the plain reading of the same
file (`tests.faults.plain`). `python -m tests.faults.inputs SEED CASE` repeats one case in a folder
that stays.
"""

import gzip
import json
import os
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.domains.preprocess import PreprocessConfig, preprocess
from recg_core.raw.fetch import fetch
from tests.faults import columns, damage, plain
from tests.faults.outcomes import GOOD, Outcomes, Watched, run_command
from tests.faults.plain import Expected, Layout, Reading, Unreadable
from tests.faults.records import FIELDS, START, Records, make, write

SECONDS = 60.0  # for a case; usual is a tenth of one
COMMAND_EVERY = 50  # of so many cases one is also run by the stages' commands
ROOT = Path(__file__).parents[2]
SHARE = 0.5  # of a table's lines may be unusable
STRIDE = 37  # has no divisor in common with the number of combinations
AMAZON = {"reviews": "raw/review_categories", "rating_only": "benchmark/5core/rating_only"}
COLUMNS = {
    "interactions": {"user_id": "user", "item_id": "item", "timestamp": "ts"},
    "items": {"item_id": "item", "title": "title", "features": "feat", "description": "desc"},
}
TEXTS = ("title", "features", "description")
LAYOUTS = (
    (".csv", Layout("csv")),
    (".jsonl", Layout("jsonl")),
    (".tsv", Layout("csv", "\t")),
    (".csv", Layout("csv", ";")),
    (".dat", Layout("csv", "::")),
    (".txt", Layout("csv", "|", "escaped")),
    (".csv", Layout("csv", quotes="escaped")),
    (".tsv", Layout("csv", "\t", "none")),
    (".ndjson", Layout("jsonl")),
    (".csv", Layout("csv", header=("header",))),
    (".csv", Layout("csv", encoding="utf-16")),
    (".csv", Layout("csv", encoding="latin-1")),
    (".jsonl", Layout("jsonl", encoding="utf-16-le")),
)


@dataclass(frozen=True)
class Case:
    """Two tables on disk and the row that names them.

    Attributes:
        what: the damage, in words.
        files: of each table.
    """

    what: str
    row: dict[str, Any]
    files: dict[str, list[Path]]
    layouts: dict[str, Layout]
    columns: dict[str, dict[str, str]]
    unit: str
    meant: Records | None  # nothing was damaged
    said: dict[str, Reading | None] = field(default_factory=dict)  # of Parquet; None: unreadable


def run(count: int, seed: int, folder: Path) -> Outcomes:
    """Judge `count` damaged inputs."""
    outcomes = Outcomes()
    with Watched(SECONDS) as watched:
        for number in range(count):
            outcome, detail = watched.call(judge, seed, number, folder / "case")
            if number % COMMAND_EVERY == 0 and outcome in GOOD:
                outcome, detail = judge_command(seed, number, folder / "case", outcome)
            again = f"python -m tests.faults.inputs {seed} {number}"
            outcomes.add(outcome, f"{detail}\n  again: {again}")
    return outcomes


def judge(seed: int, number: int, folder: Path) -> tuple[str, str]:
    """Make a case, read it, and compare."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case = case_of(random.Random(f"{seed}-{number}"), number, folder)
    try:
        wanted: Expected | str = expected(case)
    except Unreadable as error:
        wanted = str(error)
    if case.meant is not None:
        assert isinstance(wanted, Expected)
        assert wanted.visits == sorted(case.meant.meant), "the plain reading is wrong"
    try:
        fetch("shop", case.row, "domains.shop", folder / "raw", folder / "parts")
        config = PreprocessConfig(1, "any", "leave_one_out", SHARE, repeats="all")
        preprocess(folder / "raw", folder / "out", config)
    except UserError as error:
        is_whole = not (folder / "out").exists()
        return ("refused", str(error)) if is_whole else ("silent", f"{case.what}: output is left")
    wrong = differences(folder / "out", wanted)
    return ("silent", f"{case.what}: {wrong}") if wrong else ("right", case.what)


def judge_command(seed: int, number: int, folder: Path, outcome: str) -> tuple[str, str]:
    """Run a case by the commands of its stages: it must end as it did in process."""
    found, detail = run_stages(folder, case_of(random.Random(f"{seed}-{number}"), number, folder))
    if found in GOOD and found != outcome:
        return "silent", f"{found} by its command, {outcome} in process: {detail}"
    return found, detail


def run_stages(folder: Path, case: Case, seconds: float = SECONDS) -> tuple[str, str]:
    """Fetch and preprocess by commands; what the first that fails, or else the last, made of it."""
    config = {"k_core": 1, "text_rule": "any", "split": "leave_one_out", "max_reject_share": SHARE}
    params = {"domains": {"shop": case.row}, "preprocess": {**config, "repeats": "all"}}
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    fetching = ["stages.fetch", "--domain", "shop", "--out", "raw"]
    outcome, said = run_command([sys.executable, "-m", *fetching], folder, seconds, env)
    if outcome == "right":
        reading = ["stages.preprocess", "--raw", "raw", "--out", "shop"]
        outcome, said = run_command([sys.executable, "-m", *reading], folder, seconds, env)
    return outcome, said


def expected(case: Case) -> Expected:
    """The plain reading of a case.

    Raises:
        Unreadable: when a file has to be refused.
    """
    tables: dict[str, list[Reading]] = {}
    for name, paths in case.files.items():
        if name in case.said:
            said = case.said[name]
            if said is None:
                raise Unreadable("of no such type")
            tables[name] = [said]
        else:
            names = list(case.columns[name].values())
            tables[name] = [plain.read_text(path, case.layouts[name], names) for path in paths]
    return plain.expected(tables, case.columns, case.unit)


def case_of(rng: random.Random, number: int, folder: Path) -> Case:
    """The number alone chooses format and damage, so that a few hundred have all of them."""
    turn, kind = divmod(number, 10)
    if kind < 7:
        return text_case(rng, (turn * 7 + kind) * STRIDE, folder)
    return parquet_case(rng, folder) if kind < 9 else amazon_case(rng, folder)


def text_case(rng: random.Random, number: int, folder: Path) -> Case:
    """Text files for the reader `table`; one of two tables is damaged, or set wrongly."""
    number, place = divmod(number, len(LAYOUTS))
    suffix, layout = LAYOUTS[place]
    number, place = divmod(number, 2)
    target = ("interactions", "items")[place]
    harms = (*damage.TEXT, *damage.GZIP, None, None)
    harm = harms[number % len(harms)]
    unit = rng.choice(["s", "ms", "order"])
    records = make(rng, unit, layout.quotes == "none")
    if layout.encoding == "latin-1":
        records = _narrow(records)
    files, layouts = {}, {}
    for name, rows in records.rows.items():
        end, found = (suffix, layout) if name == target else (".jsonl", Layout("jsonl"))
        layouts[name] = found if found.header is None else replace(found, header=FIELDS[name])
        parts = rng.choice([1, 1, 1, 2, 3]) if name == target else 1
        size = -(-len(rows) // parts)
        texts = [
            write(rng, rows[start : start + size], FIELDS[name], layouts[name])
            for start in range(0, size * parts, size)
        ]
        if name == target and harm is not None:
            end += ".gz" * (harm in damage.GZIP or rng.random() < 0.15)
            texts = _harmed(rng, texts, harm, end.endswith(".gz"))
        files[name] = [folder / f"{name}-{part}{end}" for part in range(parts)]
        for path, data in zip(files[name], texts, strict=True):
            path.write_bytes(data)
    what = f"{getattr(harm, '__name__', None)} in {target} of {suffix} {layout}"
    meant = records if harm is damage.nothing else None
    case = Case(what, {}, files, layouts, COLUMNS, unit, meant)
    if harm is None:
        case = wrong_setting(rng, case, target)
    return replace(case, row=row_of(case))


def _harmed(
    rng: random.Random, texts: list[bytes], harm: damage.Damage, is_gzip: bool
) -> list[bytes]:
    """The files of a table, the last one damaged."""
    if harm in damage.TEXT:
        texts[-1] = harm(rng, texts[-1])
    if is_gzip:
        texts = [gzip.compress(data, mtime=0) for data in texts]
    if harm in damage.GZIP:
        texts[-1] = harm(rng, texts[-1])
    return texts


def wrong_setting(rng: random.Random, case: Case, target: str) -> Case:
    """Whole files that are set to be something else."""
    layout, columns = case.layouts[target], case.columns[target]
    which = rng.randrange(6)
    unit = case.unit
    if which == 0:
        role = rng.choice(list(columns))
        columns = columns | {role: rng.choice(["nothing", "", columns["item_id"], "rating"])}
    elif which == 1:
        suffix = rng.choice([".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz"])
        path = case.files[target][-1]
        moved = path.rename(path.with_name(f"{target}-x{suffix}"))
        kind = {".jsonl": "jsonl", ".parquet": "parquet"}.get(suffix, "csv")
        layout = replace(layout, kind=kind) if kind == "csv" else Layout(kind, encoding="utf-8")
        case = replace(case, files=case.files | {target: [moved]})
    elif which == 2:
        encodings = ["utf-8", "utf-16", "utf-16-le", "latin-1", "cp1252", "shift_jis", "ascii"]
        layout = replace(layout, encoding=rng.choice(encodings))
    elif which == 3 and layout.kind == "csv":
        layout = replace(layout, separator=rng.choice([";", ",", "\t", "|", "::", " "]))
    elif which == 4 and layout.kind == "csv":
        header = rng.choice([None, FIELDS[target], FIELDS[target][:-1], FIELDS[target][::-1]])
        layout = replace(layout, quotes=rng.choice(["doubled", "none", "escaped"]), header=header)
    else:
        unit = rng.choice(["s", "ms", "order"])
    what = f"{case.what}, set as {layout} {unit} {columns}"
    layouts, named = case.layouts | {target: layout}, {**case.columns, target: columns}
    return replace(case, what=what, layouts=layouts, columns=named, unit=unit)


def parquet_case(rng: random.Random, folder: Path) -> Case:
    """A Parquet file for one of the tables: an odd type, an odd shape, or damaged bytes."""
    target = rng.choice(["interactions", "items"])
    way = rng.randrange(4)
    data, said, what = columns.shape(rng, target) if way == 0 else columns.make(rng, target)
    if way == 1:
        harm = rng.choice(columns.HARM)
        data = harm(rng, data)
        what += f", {harm.__name__}"
        said = columns.read_otherwise(data) or said
    other = "items" if target == "interactions" else "interactions"
    files = {target: [folder / f"{target}.parquet"], other: [folder / f"{other}.jsonl"]}
    files[target][0].write_bytes(data)
    ids = _ids_of(said, target)
    rows = [{"item": item, "title": "T", "feat": None, "desc": None} for item in ids]
    if target == "items":
        rows = [{"user": "u", "item": item, "ts": START + n} for n, item in enumerate(ids)]
    files[other][0].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    layouts = {target: Layout("parquet"), other: Layout("jsonl")}
    case = Case(f"{what} in {target}", {}, files, layouts, COLUMNS, "s", None, {target: said})
    return replace(case, row=row_of(case))


def _ids_of(said: Reading | None, target: str) -> list[str]:
    names = [] if said is None else [plain.name_of(r["item"]) for r in said.records.values()]
    return sorted({name for name in names if name}) or ["100"]


def amazon_case(rng: random.Random, folder: Path) -> Case:
    """Files of Amazon Reviews 2023, flat or in their folders, of which one is damaged."""
    names = {"user": "user_id", "item": "parent_asin", "ts": "timestamp", "rating": "rating"}
    names |= {"title": "title", "feat": "features", "desc": "description"}
    wanted = rng.choice(["reviews", "rating_only"])
    table = "jsonl" if wanted == "reviews" else "csv"
    layouts = {"interactions": Layout(table), "items": Layout("jsonl")}
    places = {
        "interactions": f"X.{table}" if rng.random() < 0.5 else f"{AMAZON[wanted]}/X.{table}",
        "items": rng.choice(["meta_X.jsonl", "raw/meta_categories/meta_X.jsonl"]),
    }
    records = make(rng, "ms", False)
    target = rng.choice(list(places))
    harm = rng.choice((*damage.TEXT, *damage.GZIP))
    files = {}
    for name, rows in records.rows.items():
        is_gzip = harm in damage.GZIP or rng.random() < 0.7
        renamed = [{names[key]: value for key, value in row.items()} for row in rows]
        fields = tuple(names[field] for field in FIELDS[name])
        texts = [write(rng, renamed, fields, layouts[name])]
        texts = _harmed(rng, texts, harm if name == target else damage.nothing, is_gzip)
        files[name] = [folder / "given" / (places[name] + ".gz" * is_gzip)]
        files[name][0].parent.mkdir(parents=True, exist_ok=True)
        files[name][0].write_bytes(texts[0])
    row = {"reader": "amazon2023", "category": "X", "location": str(folder / "given")}
    row["interactions"] = wanted
    roles = {name: {r: names[c] for r, c in found.items()} for name, found in COLUMNS.items()}
    meant = records if harm is damage.nothing else None
    what = f"{harm.__name__} in {target} of amazon2023 {wanted}"
    return Case(what, row, files, layouts, roles, "ms", meant)


def row_of(case: Case) -> dict[str, Any]:
    """The row of `domains` for the reader `table`."""
    sections = {}
    for name, paths in case.files.items():
        layout = case.layouts[name]
        section: dict[str, Any] = {"path": list(map(str, paths)), "encoding": layout.encoding}
        if layout.kind == "csv":
            section |= {"separator": layout.separator, "quotes": layout.quotes}
        if layout.header is not None:
            section["header"] = list(layout.header)
        sections[name] = section
    item_ids = {name: found["item_id"] for name, found in case.columns.items()}
    named = {**case.columns["items"], **case.columns["interactions"], "item_id": item_ids}
    return {"reader": "table", "timestamp_unit": case.unit, "columns": named, **sections}


def _narrow(records: Records) -> Records:
    """The records without the letters that latin-1 does not have."""

    def narrow(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(narrow, value))
        return (
            value.encode("latin-1", "ignore").decode("latin-1") if isinstance(value, str) else value
        )

    rows = {
        name: [{key: narrow(value) for key, value in row.items()} for row in found]
        for name, found in records.rows.items()
    }
    meant = [(narrow(user).strip(), narrow(item).strip(), t) for user, item, t in records.meant]
    return Records(rows, meant)


def differences(out: Path, wanted: Expected | str) -> str:
    """What of a domain is not as the plain reading has it; "" if nothing."""
    if isinstance(wanted, str):
        return f"is no such file ({wanted}) and was read"
    stats = read_json(out / "stats.json")
    items = pl.read_parquet(out / "items.parquet")
    ids = dict(items.select("item_idx", "item_id").rows())
    sequences = pl.read_parquet(out / "sequences.parquet")
    visits = sorted(
        (user, ids[item], time)
        for user, found, times in sequences.select("user_id", "item_idx", "timestamp").rows()
        for item, time in zip(found, times, strict=True)
    )
    found_items = {
        row["item_id"]: tuple(plain.words_of(row[text]) for text in TEXTS)
        for row in items.iter_rows(named=True)
    }
    wrong = []
    if visits != wanted.visits:
        wrong.append(f"interactions {_apart(visits, wanted.visits)}")
    if found_items != wanted.items:
        wrong.append(f"items {_apart(found_items.items(), wanted.items.items())}")
    listed = {"interactions": set(), "items": set()}
    for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        stem, _, part = entry["file"].partition(".")[0].partition("-")
        name = {"X": "interactions", "meta_X": "items"}.get(stem, stem)
        listed[name].add((int(part or 1) - 1, entry["line"]))
    for name, kept in (("interactions", "num_interactions"), ("items", "num_items")):
        if listed[name] != wanted.rejected[name]:
            wrong.append(f"rejects of {name} {_apart(listed[name], wanted.rejected[name])}")
        lost = sum(stats["rejected"][name].values()) + sum(stats["dropped"][name].values())
        if stats["read"][name] != stats[kept] + lost:
            wrong.append(f"the accounts of {name} do not balance")
        if stats["read"][name] != wanted.num_lines[name]:
            wrong.append(f"{stats['read'][name]} of {wanted.num_lines[name]} lines of {name}")
    return "; ".join(wrong)


def _apart(found: Any, wanted: Any) -> str:
    found, wanted = list(found), list(wanted)
    more = [value for value in found if value not in wanted][:3]
    fewer = [value for value in wanted if value not in found][:3]
    return f"hold {more} and lack {fewer} ({len(found)} for {len(wanted)})"


def main() -> None:
    """Judge one case again; its files stay."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print(*judge(int(sys.argv[1]), int(sys.argv[2]), folder / "case"), sep=": ")
    print(f"its files are in {folder}")


if __name__ == "__main__":
    main()
