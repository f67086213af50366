"""Time and memory of preprocessing, beside plain programs.

    python -m benchmarks.preprocess --millions 1 10 40

Writes millions of review lines in the shape of Amazon Reviews 2023 (seeded, about 450 bytes each,
gzip) to a temporary folder, then runs each program in a process of its own and samples its
anonymous memory (RssAnon of /proc, so Linux only). One plain program decompresses and does nothing
else. The other, up to two million lines, reads line by line with `json.loads` into lists and takes
the same steps; the counts of both must agree.
"""

import argparse
import gzip
import html
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recg_core.base.files import sha256_file, write_sealed_json

REPOSITORY = Path(__file__).resolve().parent.parent
LINES = 1_000_000
NUM_ITEMS = 40_000
PARAMS = "preprocess: {k_core: 5, text_rule: any, split: leave_one_out, max_reject_share: 0.01}\n"
MOST_FOR_JSON_LOADS = 2  # millions of lines, of which each takes half a kilobyte of memory
DECOMPRESS = """
import sys, zlib  # argv: -c --raw RAW --out OUT
member = zlib.decompressobj(31)
with open(sys.argv[2] + "/reviews.jsonl.gz", "rb") as stream:
    while block := stream.read(1 << 20):
        while block:
            member.decompress(block)
            block = member.unused_data
            member = zlib.decompressobj(31) if member.eof else member
"""
PROGRAMS = {
    "ours": ["-m", "stages.preprocess"],
    "decompression alone": ["-c", DECOMPRESS],
    "json.loads": [str(Path(__file__).resolve())],
}
SOURCE = {
    "interactions": {
        "files": ["reviews.jsonl.gz"],
        "format": "jsonl",
        "columns": {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp"},
    },
    "items": {
        "files": ["meta.jsonl.gz"],
        "format": "jsonl",
        "columns": {
            "item_id": "parent_asin",
            "title": "title",
            "features": "features",
            "description": "description",
        },
    },
    "timestamp_unit": "ms",
    "row": {},
}


class Used(NamedTuple):
    """What a command used."""

    seconds: float
    cpu_seconds: float
    anonymous_mb: float  # of all its processes together, at its highest
    resident_mb: float  # likewise, with pages of mapped files


def word_soup(rng: np.random.Generator, num_words: int) -> str:
    """A long text of made-up words, from which reviews and descriptions are cut."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    vocabulary = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(20_000)]
    ranks = (len(vocabulary) ** rng.random(num_words)).astype(int)  # Zipf's law
    return " ".join(vocabulary[rank] for rank in ranks)


def review_lines(rng: np.random.Generator, soup: str) -> Iterator[str]:
    """`LINES` reviews: a few items and users have most of them, every tenth has a picture."""
    users = (LINES * rng.random(LINES) ** 3 * 0.6).astype(int)
    items = (NUM_ITEMS * rng.random(LINES) ** 2).astype(int)
    starts = rng.integers(0, len(soup) - 5000, LINES)
    lengths = np.minimum(rng.lognormal(4.8, 1.0, LINES), 4900).astype(int)
    times = rng.integers(10**12, 17 * 10**11, LINES)
    picture = {"small_image_url": "https://images.example/I/61602k-EjKL._SL256_.jpg"}
    for i in range(LINES):
        start, item = starts[i], f"B{items[i]:09d}"
        record = {
            "rating": float(1 + i % 5),
            "title": soup[start - 30 : start],
            "text": soup[start : start + lengths[i]],
            "images": [picture | {"attachment_type": "IMAGE"}] if i % 10 == 0 else [],
            "asin": item,
            "parent_asin": item,
            "user_id": f"A{users[i]:027d}",
            "timestamp": int(times[i]),
            "helpful_vote": i % 3,
            "verified_purchase": True,
        }
        yield json.dumps(record) + "\n"


def write_raw(folder: Path, millions: int) -> Path:
    """A raw folder; every million of lines is of other users."""
    rng = np.random.default_rng(0)
    soup = word_soup(rng, 2_000_000)
    raw = folder / f"{millions}"
    raw.mkdir()
    with gzip.open(raw / "meta.jsonl.gz", "wt", compresslevel=1) as stream:
        for item in range(NUM_ITEMS):
            start = int(rng.integers(0, len(soup) - 5000))
            record = {
                "parent_asin": f"B{item:09d}",
                "title": soup[start : start + 80] + " &amp; more",
                "features": [soup[start + 80 : start + 200], soup[start + 200 : start + 300]],
                "description": [soup[start + 300 : start + 900]],
                "price": None if item % 2 else 9.99,
                "details": {"Brand": "Example", "Size": {"unit": "cm", "value": 3}},
            }
            stream.write(json.dumps(record) + "\n")
    lines = "".join(review_lines(rng, soup)).encode()
    with (raw / "reviews.jsonl.gz").open("wb") as stream:
        for million in range(millions):
            own = lines.replace(b'"user_id": "A0000', b'"user_id": "A%04d' % million)
            stream.write(gzip.compress(own, compresslevel=1))
    digests = {path.name: sha256_file(path) for path in raw.iterdir()}
    write_sealed_json(raw / "source.json", {**SOURCE, "sha256": digests})
    return raw


def plain_preprocess(raw: Path, out: Path) -> None:
    """The same steps, line by line."""
    items = {}
    with gzip.open(raw / "meta.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            texts = [record["title"], *record["features"], *record["description"]]
            text = re.sub(r"<[^>]*>", " ", html.unescape(" ".join(texts)))
            items[record["parent_asin"]] = " ".join(text.split())
    rows = []
    with gzip.open(raw / "reviews.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            if record["timestamp"] >= 10**11 and items.get(record["parent_asin"]):
                rows.append((record["timestamp"], record["user_id"], record["parent_asin"]))
    rows.sort(key=lambda row: row[0])
    pairs = {(user, item): when for when, user, item in reversed(rows)}
    kept = [(when, user, item) for (user, item), when in pairs.items()]
    size = -1
    while size != len(kept):
        size = len(kept)
        users, sold = Counter(row[1] for row in kept), Counter(row[2] for row in kept)
        kept = [row for row in kept if users[row[1]] >= 5 and sold[row[2]] >= 5]
    sequences: dict[str, list[Any]] = {}
    for when, user, item in sorted(kept, key=lambda row: row[0]):
        sequences.setdefault(user, []).append((when, item))
    out.mkdir()
    stats = {
        "num_users": len(sequences),
        "num_items": len({row[2] for row in kept}),
        "num_interactions": len(kept),
    }
    (out / "stats.json").write_text(json.dumps(stats))


def measure(command: list[str], folder: Path) -> Used:
    """Run a command to its end."""
    before, began = os.times(), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE"}
    with (folder / "log.txt").open("a") as log:
        log.write(f"{' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        peaks = np.zeros(2)
        while process.poll() is None:
            peaks = np.maximum(peaks, np.sum([memory(pid) for pid in family(process.pid)], axis=0))
            time.sleep(0.05)
    if process.returncode:
        print((folder / "log.txt").read_text()[-4000:])
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Used(time.perf_counter() - began, used, *peaks.tolist())


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from family(int(child))


def memory(pid: int) -> tuple[float, float]:
    """Anonymous and resident MB of a process; 0 of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = [re.search(rf"{key}:\s+(\d+) kB", status) for key in ("RssAnon", "VmRSS")]
    anonymous, resident = (int(each[1]) / 1024 if each else 0.0 for each in found)
    return anonymous, resident


def main() -> None:
    """Print a table of seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 2], help="of lines")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print("| program | lines | gz MB | seconds | CPU s | peak RssAnon MB |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    for millions in options.millions:
        with tempfile.TemporaryDirectory() as temporary:
            one_size(Path(temporary), millions)


def one_size(folder: Path, millions: int) -> None:
    """Print the rows of one number of lines."""
    (folder / "params.yaml").write_text(PARAMS)
    raw = write_raw(folder, millions)
    size = (raw / "reviews.jsonl.gz").stat().st_size / 1e6
    stats: dict[str, dict[str, Any]] = {}
    for program, call in PROGRAMS.items():
        if program == "json.loads" and millions > MOST_FOR_JSON_LOADS:
            continue
        out = folder / program.replace(" ", "-")
        command = [sys.executable, *call, "--raw", str(raw), "--out", str(out)]
        seconds, used, anonymous, _ = measure(command, folder)
        lines = f"{millions * LINES:,} | {size:.0f}"
        print(f"| {program} | {lines} | {seconds:.1f} | {used:.1f} | {anonymous:.0f} |", flush=True)
        if (out / "stats.json").exists():
            stats[program] = json.loads((out / "stats.json").read_text())
    ours, plain = stats["ours"], stats.get("json.loads", {})
    if any(ours[key] != plain[key] for key in plain):
        raise SystemExit(f"counts differ: {ours} {plain}")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--raw":
        plain_preprocess(Path(sys.argv[2]), Path(sys.argv[4]))
    else:
        main()
