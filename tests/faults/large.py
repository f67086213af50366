"""Very long fields, very many columns, bombs: right or refused, in bounded memory and time.

`python -m tests.faults.large NAME` repeats one of `CASES` in a folder that stays.
"""

import gzip
import json
import random
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from tests.faults.inputs import COLUMNS, Case, Layout, row_of, run_stages
from tests.faults.outcomes import Outcomes

MIB = 1 << 20
LINE = b"word " * 14 + b"\n"
SECONDS = 400.0  # for a command; on an idle machine it takes 20 at most
PEAK = 2048 * MIB  # of a process that reads one
Write = Callable[[int], tuple[str, bytes, set[str]]]
# A case gives, for a size in MiB, the items' file name, its bytes and the items that must be there
# if it is read at all.


def _item(n: int, title: str, **more: str) -> bytes:
    record = {"item": f"i{n}", "title": title, "feat": None, "desc": None, **more}
    return json.dumps(record).encode() + b"\n"


def _around(line: bytes) -> bytes:
    return _item(1, "one") + line + _item(3, "three")


def _long(text: str) -> Write:
    """A title of so many bytes, made of one piece again and again."""

    def make(size: int) -> tuple[str, bytes, set[str]]:
        title = "x " + text * (size * MIB // len(text.encode()))
        return "items.jsonl", _around(_item(2, title)), {"i1", "i2", "i3"}

    return make


def _csv(body: Callable[[int], bytes], *ids: str) -> Write:
    def make(size: int) -> tuple[str, bytes, set[str]]:
        head = b"item,title,feat,desc\ni1,one,,\n"
        return "items.csv", head + body(size) + b"i3,three,,\n", {"i1", *ids, "i3"}

    return make


def _line(data: Callable[[int], bytes]) -> Write:
    return lambda size: ("items.jsonl", _around(data(size) + b"\n"), {"i1", "i3"})


def _bomb(size: int) -> tuple[str, bytes, set[str]]:
    """Some hundred times as large when unpacked."""
    packed = gzip.compress(b"x" * MIB) * (40 * size)
    return "items.jsonl.gz", gzip.compress(_item(1, "one")) + packed, {"i1"}


def _many_columns(size: int) -> tuple[str, bytes, set[str]]:
    names = [f"c{n}" for n in range(1000 * size)]
    head = ",".join(["item", "title", "feat", "desc", *names]).encode()
    rows = [b"i%d,T,," % n + b"," * len(names) for n in range(1, 40)]
    return "items.csv", b"\n".join([head, *rows]), {f"i{n}" for n in range(1, 40)}


def _many_keys(size: int) -> tuple[str, bytes, set[str]]:
    more = {f"c{n}": "x" for n in range(1000 * size)}
    rows = [_item(n, "T", **more) for n in range(1, 40)]
    return "items.jsonl", b"".join(rows), {f"i{n}" for n in range(1, 40)}


CASES: dict[str, Write] = {
    "title": _long("word "),
    "bomb": _bomb,
    "open_quote": _csv(lambda size: b'i2,"never closed\n' + b"i5,five,,\n" * (size * 100_000)),
    "tags": _long("<script><!--"),
    "array": lambda size: ("items.jsonl", b"[" + b'{"item": 1}, ' * (size * 80_000) + b"]", set()),
    "nested": _line(lambda size: b'{"item": "i2", "title": ' + b"[" * (size * MIB)),
    "closed_nest": _line(lambda size: b"[" * (size * MIB // 2) + b"]" * (size * MIB // 2)),
    "entities": _long("&#1" + "0" * 5000 + ";&amp;"),
    "spaces": _long("\u200b \u00a0"),
    "printed_list": _long("'a', "),
    "brackets": _long("['"),
    "many_columns": _many_columns,
    "many_keys": _many_keys,
    "quoted": _csv(
        lambda size: b'i2,"' + (b"word " * 14 + b"\n") * (size * MIB // 71) + b'",,\n', "i2"
    ),
    "quotes": _csv(lambda size: b'i2,"' + b'""' * (size * MIB // 2) + b'x",,\n', "i2"),
    "stray_quotes": _csv(lambda size: b'"' * (size * MIB) + b"x\n"),
    "digits": _line(lambda size: b'{"item": ' + b"9" * (size * MIB) + b', "title": "T"}'),
    "zeros": _line(lambda size: b"\0" * (size * MIB)),
    "backslashes": _line(lambda size: b'{"item": "i2", "title": "' + b"\\" * (size * MIB)),
    "blank": _csv(lambda size: b"\n" * (size * MIB // 10)),
}


def run(count: int, seed: int, folder: Path) -> Outcomes:
    """Judge `count` large inputs, each in processes of its own."""
    outcomes = Outcomes()
    rng = random.Random(seed)
    for number in range(count):
        name = list(CASES)[number % len(CASES)]
        size = rng.randint(10, 40)
        place = folder / f"{number}"
        outcome, detail = judge(name, size, place)
        again = f"python -m tests.faults.large {name} {size}"
        outcomes.add(outcome, f"{detail[-1000:]}\n  again: {again}")
    return outcomes


def judge(name: str, size: int, folder: Path) -> tuple[str, str]:
    """Make a case of about `size` MiB and run the stages."""
    folder.mkdir()
    file, data, ids = CASES[name](size)
    (folder / file).write_bytes(data)
    known = {*ids, "i5"}
    visits = [{"user": "u", "item": item, "ts": n} for n, item in enumerate(sorted(known))]
    lines = "".join(json.dumps(visit) + "\n" for visit in visits)
    (folder / "visits.jsonl").write_text(lines, encoding="utf-8")
    kind = "csv" if ".csv" in file else "jsonl"
    files = {"interactions": [folder / "visits.jsonl"], "items": [folder / file]}
    layouts = {"interactions": Layout("jsonl"), "items": Layout(kind)}
    case = Case(name, {}, files, layouts, COLUMNS, "order", None)
    outcome, detail = run_stages(folder, replace(case, row=row_of(case)), SECONDS)
    if outcome == "right":
        found = set(pl.read_parquet(folder / "shop" / "items.parquet")["item_id"])
        if not ids <= found:
            return "silent", f"{name} of {size} MiB: {sorted(ids - found)} are missing"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if peak > PEAK:
        return "silent", f"{name} of {size} MiB: took {peak / MIB:.0f} MiB"
    return outcome, f"{detail}; the most memory so far: {peak / MIB:.0f} MiB"


def main() -> None:
    """Judge one case again; its files stay."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print(*judge(sys.argv[1], int(sys.argv[2]), folder / "case"), sep=": ")
    print(f"its files are in {folder}")


if __name__ == "__main__":
    main()
