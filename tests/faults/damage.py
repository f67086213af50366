"""Ways to damage the bytes of a text file, of a gzip file, of any file."""

import gzip
import random
import re
from collections.abc import Callable

Damage = Callable[[random.Random, bytes], bytes]
ODD_VALUES = [
    "NaN",
    "nan",
    "null",
    "None",
    "true",
    "-0",
    "1e999",
    "-1e400",
    "1e5",
    "0x1F",
    "+7",
    "007",
    "7.0",
    "1.5e+16",
    "9007199254740993",
    "18446744073709551616",
    "99999999999999999999999999",
    "{}",
    "[]",
    "[[1]]",
    '{"a":1}',
    "[null]",
    '["x",null,7.0]',
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"a\\u000ab"',
    '"\\ufffd"',
    "1600000000",
    "1600000000000",
    "-5",
    "1.7",
    "2020-02-30",
    "2020-01-01T25:00",
    "2020-01-01T00:00:60",
    "2020-01-01T00:00+99:99",
    "2020-01-01T24:00",
    '"2020-01-01T10:00:00.123456789Z"',
    "Infinity",
    "-Infinity",
    "1_000",
    "١٢٣",
    "'",
]


def _cut(data: bytes, start: int, end: int, instead: bytes = b"") -> bytes:
    return data[:start] + instead + data[end:]


def _place(rng: random.Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def _at_line(rng: random.Random, data: bytes, change: Callable[[list[bytes], int], None]) -> bytes:
    lines = data.split(b"\n")
    change(lines, rng.randrange(len(lines)))
    return b"\n".join(lines)


def nothing(rng: random.Random, data: bytes) -> bytes:
    """The file as it is."""
    return data


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert_bytes(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    return _cut(data, start, start, rng.randbytes(rng.choice([1, 1, 2, 40])))


def delete_bytes(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    return _cut(data, start, start + rng.choice([1, 1, 2, 30, 300]))


def repeat_bytes(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    part = data[start : start + rng.choice([1, 5, 200])]
    return _cut(data, start, start, part)


def insert_mark(rng: random.Random, data: bytes) -> bytes:
    """A character that means something to some format, at any place."""
    marks = [
        '"',
        "'",
        ",",
        ";",
        "|",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\x00",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\\",
        "#",
        "\ufeff",
        "\u2028",
        "\x85",
        "\x1a",
        "\x0b",
        "\x1c",
    ]
    for _ in range(rng.choice([1, 1, 2, 5])):
        start = _place(rng, data)
        data = _cut(data, start, start, rng.choice(marks).encode())
    return data


def stray_quote(rng: random.Random, data: bytes) -> bytes:
    """Quotes where fields begin or end."""
    for _ in range(rng.choice([1, 1, 2])):
        ends = [found.start() for found in re.finditer(rb"[,;|\t\n]", data)] or [0]
        start = rng.choice(ends) + rng.choice([0, 1])
        data = _cut(data, start, start, rng.choice([b'"', b'"', b'""', b'" ', b'\\"']))
    return data


def odd_value(rng: random.Random, data: bytes) -> bytes:
    """A value that is none, or another than it seems, in place of one or of several."""
    for _ in range(rng.choice([1, 1, 4])):
        values = list(re.finditer(rb'(?<=[,;|\t\n])[^,;|\t\n"]+|(?<=: )[^,\[\]{}]+(?=[,}])', data))
        if values:
            start, end = rng.choice(values).span()
            data = _cut(data, start, end, rng.choice(ODD_VALUES).encode())
    return data


def drop_lines(rng: random.Random, data: bytes) -> bytes:
    def change(lines: list[bytes], n: int) -> None:
        del lines[n : n + rng.choice([1, 1, 3])]

    return _at_line(rng, data, change)


def repeat_line(rng: random.Random, data: bytes) -> bytes:
    def change(lines: list[bytes], n: int) -> None:
        lines[n:n] = [rng.choice(lines)] * rng.choice([1, 1, 3])

    return _at_line(rng, data, change)


def join_lines(rng: random.Random, data: bytes) -> bytes:
    """A line end is lost."""

    def change(lines: list[bytes], n: int) -> None:
        lines[n : n + 2] = [rng.choice([b"", b" ", b"\r", b"\0"]).join(lines[n : n + 2])]

    return _at_line(rng, data, change)


def ragged_row(rng: random.Random, data: bytes) -> bytes:
    """A field too many, or too few."""

    def change(lines: list[bytes], n: int) -> None:
        separator = next((s for s in (b"::", b"\t", b";", b"|", b",") if s in lines[0]), b",")
        if rng.random() < 0.5:
            lines[n] += separator * rng.choice([1, 2])
        else:
            lines[n] = lines[n].rpartition(separator)[0]

    return _at_line(rng, data, change)


def empty_row(rng: random.Random, data: bytes) -> bytes:
    def change(lines: list[bytes], n: int) -> None:
        lines[n] = rng.choice([re.sub(rb"[^,;|\t:]", b"", lines[n]), b"{}", b"null", b"[]", b'""'])

    return _at_line(rng, data, change)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def lose_start(rng: random.Random, data: bytes) -> bytes:
    return data[rng.choice([1, 2, 10, _place(rng, data)]) :]


def empty(rng: random.Random, data: bytes) -> bytes:
    return rng.choice([b"", b"", b"\n", b"\r\n\r\n", b" ", b"\xef\xbb\xbf", b"\0"])


def first_line_only(rng: random.Random, data: bytes) -> bytes:
    return data.split(b"\n")[0] + rng.choice([b"", b"\n", b"\n\n\n"])


def swap_separators(rng: random.Random, data: bytes) -> bytes:
    """Another separator, everywhere or in one line."""
    old, new = rng.choice([b",", b"\t", b";"]), rng.choice([b";", b"\t", b",", b"|"])
    if rng.random() < 0.5:
        return data.replace(old, new)

    def change(lines: list[bytes], n: int) -> None:
        lines[n] = lines[n].replace(old, new)

    return _at_line(rng, data, change)


def line_ends(rng: random.Random, data: bytes) -> bytes:
    """Other line ends, everywhere or in some lines."""
    old = data.replace(b"\r\n", b"\n")
    end = rng.choice([b"\r\n", b"\r", b"\n\r", b"\n\n", b"\r\r\n"])
    if rng.random() < 0.6:
        return old.replace(b"\n", end)
    return b"".join(line + rng.choice([end, b"\n"]) for line in old.split(b"\n"))


def byte_order_mark(rng: random.Random, data: bytes) -> bytes:
    mark = rng.choice([b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2, b"\xff\xfe", b"\xfe\xff"])
    return (
        _at_line(rng, data, lambda lines, n: lines.insert(n, mark))
        if rng.random() < 0.2
        else (mark + data)
    )


def not_utf8(rng: random.Random, data: bytes) -> bytes:
    odd = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\xe9", b"\x80"]
    for _ in range(rng.choice([1, 1, 5])):
        start = _place(rng, data)
        data = _cut(data, start, start, rng.choice(odd))
    return data


def other_encoding(rng: random.Random, data: bytes) -> bytes:
    names = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis"]
    return data.decode(errors="replace").encode(rng.choice(names), errors="replace")


def zeros(rng: random.Random, data: bytes) -> bytes:
    """A block that was never written."""
    start = _place(rng, data)
    length = rng.choice([1, 10, 600])
    return _cut(data, start, start + length, b"\0" * length)


def wrong_header(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    names = [b"item", b"user", b"ts", b"title", b"desc"]
    old, new = rng.choice(names), rng.choice([*names, b"Item", b" item ", b"", b"item\0"])
    lines[0] = lines[0].replace(old, new)
    if rng.random() < 0.3:
        lines[0] = rng.choice([lines[0].upper(), b"", lines[0] + b",extra", lines[-2 % len(lines)]])
    return b"\n".join(lines)


def json_shape(rng: random.Random, data: bytes) -> bytes:
    """An array, an indented object, a value in a deep nest, a key twice, objects on one line."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    n = rng.randrange(len(lines)) if lines else 0
    deep = rng.choice([50, 500, 2000, 200_000])
    shape = rng.randrange(7)
    if shape == 0 or not lines:
        return b"[" + b",".join(lines) + b"]"
    if shape == 1:
        return b"[\n" + b",\n".join(lines) + b"\n]\n"
    if shape == 2:
        return data.replace(b"{", b"{\n  ").replace(b"}", b"\n}").replace(b", ", b",\n  ")
    if shape == 3:
        lines[n] = b'{"item": "x", "title": ' + b"[" * deep + b"]" * rng.choice([deep, 0]) + b"}"
    elif shape == 4:
        lines[n] = b'{"a":' * deep + b"1" + b"}" * deep
    elif shape == 5:
        again = rng.choice([b'"item": "twice"', b'"title": null', b'"ts": 5', b'"desc": {"a": 1}'])
        lines[n] = b"{" + again + b", " + lines[n][1:-1] + b", " + again + b"}"
    else:
        lines[n : n + 2] = [rng.choice([b"", b" ", b",", b"\r"]).join(lines[n : n + 2])]
    return b"\n".join(lines) + b"\n"


def long_field(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    return _cut(data, start, start, rng.choice([b"x", b'"', b"\\", b" ", b"[", b"\n"]) * 200_000)


TEXT: tuple[Damage, ...] = (
    nothing, flip_bits, insert_bytes, delete_bytes, repeat_bytes, insert_mark, stray_quote,
    odd_value, drop_lines, repeat_line, join_lines, ragged_row, empty_row, cut, lose_start, empty,
    first_line_only, swap_separators, line_ends, byte_order_mark, not_utf8, other_encoding, zeros,
    wrong_header, json_shape, long_field,
)  # fmt: skip


def flip_gzip(rng: random.Random, data: bytes) -> bytes:
    return flip_bits(rng, data)


def cut_gzip(rng: random.Random, data: bytes) -> bytes:
    return cut(rng, data)


def join_gzip(rng: random.Random, data: bytes) -> bytes:
    """Another member, whole, empty or cut, zeros, or what is no gzip, at the end."""
    again = gzip.compress(rng.choice([b"", b"\n", gzip.decompress(data)]))
    return data + rng.choice([again, again[:-3], b"\0" * 100, b"more", data[:10], b"\x1f"])


def not_gzip(rng: random.Random, data: bytes) -> bytes:
    return rng.choice([gzip.decompress(data), b"", b"\x1f\x8b", gzip.compress(data), data[1:]])


def split_gzip(rng: random.Random, data: bytes) -> bytes:
    """Two members, as parallel compressors write them; the cut is at any place."""
    text = gzip.decompress(data)
    start = _place(rng, text)
    return gzip.compress(text[:start]) + gzip.compress(text[start:])


GZIP: tuple[Damage, ...] = (flip_gzip, cut_gzip, join_gzip, not_gzip, split_gzip)
