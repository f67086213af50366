"""Made-up records whose meaning is known, and the text files that hold them."""

import datetime
import json
import random
from dataclasses import dataclass
from typing import Any

from tests.faults.plain import Layout

FIELDS = {
    "interactions": ("user", "item", "ts", "rating"),
    "items": ("item", "title", "feat", "desc"),
}
START = 1_600_000_000


@dataclass(frozen=True)
class Records:
    """The rows of both tables as they are to be written, and the interactions that they mean."""

    rows: dict[str, list[dict[str, Any]]]
    meant: list[tuple[str, str, int]]  # user, item, time in ms (or as it is, by order)


def make(rng: random.Random, unit: str, plain: bool) -> Records:
    """Some twelve items that eight users have met.

    Args:
        plain: texts and ids hold none of the characters that need quotes.
    """
    items = [_name(rng, 1000 + n, plain) for n in range(12)]
    users = [_name(rng, 5000 + n, plain) for n in range(8)]
    visits, meant = [], []
    for n in range(40):
        item, user = items[n % 12], rng.choice(users)
        written, time = _time(rng, unit, n)
        rating = rng.choice([1, 5.0, "3", "4.5", None])
        row = {"user": rng.choice(user[1]), "item": rng.choice(item[1]), "ts": written}
        for _ in range(1 + (rng.random() < 0.1)):
            visits.append(row | {"rating": rating})
            meant.append((user[0], item[0], time))
    things = []
    for n, (_, spellings) in enumerate(items):
        row = {"item": rng.choice(spellings), "title": _text(rng, n, plain)}
        row |= {"feat": _text(rng, n, plain), "desc": _text(rng, n + 3, plain)}
        if all(row[text] in (None, "", "nan", []) for text in ("title", "feat", "desc")):
            row["title"] = f"Lamp {n}"
        things.append(row)
        if rng.random() < 0.1:
            things.append(dict(things[-1]))
    return Records({"interactions": visits, "items": things}, meant)


def _name(rng: random.Random, n: int, plain: bool) -> tuple[str, list[Any]]:
    """An id and the ways in which it may be written."""
    kinds: list[tuple[str, list[Any]]] = [
        (f"{n}", [n, float(n), f"{n}", f"{n}.0", f" {n} ", f"{n}.000"]),
        (f"00{n}", [f"00{n}"]),
        (f"{n}.5", [n + 0.5, f"{n}.5"]),
        (f"{{6F9619FF-8B86-D011-B42D-{n:012d}}}", [f"{{6F9619FF-8B86-D011-B42D-{n:012d}}}"]),
        (f"[DVD] {n}", [f"[DVD] {n}"]),
        (f"Café Ø {n} 漢", [f"Café Ø {n} 漢"]),
        (f"z{n}", [f"\u200bz{n}", f"z{n}\ufeff", f"z{n}\u00a0", f"z{n}"]),
        (f"true{n}", [f"true{n}", f" true{n}"]),
        (f"B00{n:07}", [f"B00{n:07}"]),
        (f"{n}e5", [f"{n}e5"]),
    ]
    odd: list[tuple[str, list[Any]]] = [
        (f"x,{n}", [f"x,{n}", f"\tx,{n}"]),
        (f'q"{n}', [f'q"{n}']),
        (f"s;{n}|", [f"s;{n}|"]),
        (f"b\\{n}", [f"b\\{n}"]),
    ]
    return rng.choice(kinds if plain else kinds + odd)


def _text(rng: random.Random, n: int, plain: bool) -> Any:
    kinds: list[Any] = [
        f"Lamp {n}",
        f"Grün {n} 灯 😀",
        f"5 < 6 & 7 > {n}",
        f"R&amp;D <b>bold</b> {n}",
        f"  spaced   out {n} ",
        f"\u200bthin {n}",
        n,
        n + 0.25,
        None,
        "",
        "nan",
    ]
    odd: list[Any] = [
        f'5" pipe, {n}',
        f"line one\nline {n}",
        f"line one\r\nline {n}",
        f'"all quoted {n}"',
        f"tab\there; {n}",
        f"['part a', \"part {n}\"]",
        ["part a", f"part {n}"],
        ["one"],
        [],
        f"back\\slash {n}",
        f"open [ {{ {n}",
    ]
    return rng.choice(kinds if plain else kinds + odd)


def _time(rng: random.Random, unit: str, n: int) -> tuple[Any, int]:
    """A time as it may be written, and what it means."""
    if unit == "order":
        return rng.choice([n, str(n), float(n), f"{n}.0"]), n
    seconds = START + 86_400 * n + rng.randrange(86_400)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    if rng.random() < 0.3:
        zone = datetime.timezone(datetime.timedelta(hours=rng.randint(-11, 11), minutes=30))
        plain = moment.replace(tzinfo=None)
        written = rng.choice(
            [
                moment.isoformat(),
                moment.astimezone(zone).isoformat(),
                plain.isoformat(),
                plain.isoformat(" ") + "Z",
                plain.isoformat() + " UTC",
            ]
        )
        return written, seconds * 1000
    if rng.random() < 0.1:
        day = seconds - seconds % 86_400
        return moment.date().isoformat(), day * 1000
    if unit == "s":
        if rng.random() < 0.2:
            return f"{seconds}.25", seconds * 1000 + 250
        return rng.choice(
            [seconds, str(seconds), f"{seconds}.0", f"{seconds:.18e}"]
        ), seconds * 1000
    ms = seconds * 1000
    return rng.choice([ms, str(ms), float(ms), f"{ms}.0"]), ms


def write(
    rng: random.Random, rows: list[dict[str, Any]], names: tuple[str, ...], layout: Layout
) -> bytes:
    """The rows as a text file, some blank lines among them."""
    if layout.kind == "jsonl":
        ascii_only = rng.random() < 0.5
        records = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    else:
        records = [
            layout.separator.join(_field(rng, row[name], layout) for name in names) for row in rows
        ]
    lines = []
    for record in records:
        lines.append(record)
        if rng.random() < 0.03:
            lines.append(rng.choice(["", "", "  "]))
    if layout.kind == "csv" and layout.header is None:
        lines.insert(0, layout.separator.join(names))
    text = "\n".join(lines) + rng.choice(["\n", "\n", ""])
    if rng.random() < 0.1:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    return text.encode(layout.encoding)


def as_text(value: Any) -> str:
    """A value as a text file has it."""
    return "" if value is None else str(value)


def _field(rng: random.Random, value: Any, layout: Layout) -> str:
    text = as_text(value)
    needs = any(mark in text for mark in (layout.separator, '"', "\n", "\r"))
    if layout.quotes == "none" or (not needs and rng.random() < 0.8):
        return text
    if layout.quotes == "escaped":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return '"' + text.replace('"', '""') + '"'
