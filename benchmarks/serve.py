"""Load on the HTTP service: `python -m benchmarks.serve [--items 10000] [--seconds 10]`; needs wrk.

The package's own bundle over random unit vectors of 384 dimensions and the events of 1,000 users,
served by a process as `recg serve` does, state folder included. `wrk` asks for the best ten for
histories of ten items, one request at a time and sixteen. Beside it stand what an exact ranking has
to do at least, the product of ten vectors with all items and its top ten, on as many threads as
requests are computed by, and requests that compute nothing. The second table is what one event
costs beside a million.
"""

import argparse
import multiprocessing
import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.recommend import HISTORY, median_of, synthetic
from recg_core.serving.eventlog import open_log
from recg_core.serving.histories import no_histories
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.server import bound_socket, run

CONNECTIONS = (1, 16)
USERS = 1000
EVENTS = 1_000_000
JSON_POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = 0
request = function()
  n = n + 1
  local ids = {}
  for i = 0, %d do ids[#ids + 1] = '"i' .. ((n * 37 + i * 911) %% %d) .. '"' end
  return wrk.format(nil, nil, nil, (%s))
end
"""
HISTORIES = "'{\"history\":[' .. table.concat(ids, ',') .. '],\"because\":%s}'"
EVENT = '\'{"events":[{"user_id":"u\' .. n %% 1000 .. \'","item_id":\' .. ids[1] .. \'}]}\''


def serve_random(num_items: int, folder: Path, port: "multiprocessing.Queue[int]") -> None:
    """Serve a catalogue of random vectors."""
    with bound_socket("127.0.0.1", 0) as place, open_log(folder / "state") as events:
        live = LiveCatalogue(synthetic(num_items, USERS, folder), events)
        port.put(place.getsockname()[1])
        run(live, place)


def wrk(address: str, connections: int, seconds: int, script: Path | None) -> str:
    """Requests a second, median and 99th percentile of the latency, as cells of a table."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += [] if script is None else ["-s", str(script)]
    done = subprocess.run([*command, address], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    latency = [re.search(rf"(?m)^\s+{p}%\s+(\S+)", done.stdout)[1] for p in (50, 99)]  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+(\S+)", done.stdout)[1])  # type: ignore[index]
    return f"{rate:,.0f} | {latency[0]} | {latency[1]}"


def bare_rate(num_items: int, seconds: float) -> float:
    """Products and top tens a second on as many threads as there are cores."""
    torch.set_num_threads(1)
    text = torch.randn(num_items, 384)
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            (text[:HISTORY] @ text.T).sum(0).topk(10)
            done += 1
        return done

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(work, range(cores))) / seconds


def growth_row() -> str:
    """Histories of `EVENTS` events made at once, and with one event more, as a row of a table."""
    rng = np.random.default_rng(0)
    item_idx = {f"i{n}": n + 1 for n in range(10_000)}
    columns = {"user_id": EVENTS // 7, "item_id": len(item_idx)}
    events = pl.DataFrame(
        {
            name: [f"{name[0]}{n}" for n in rng.integers(0, num, EVENTS)]
            for name, num in columns.items()
        }
    )
    found = no_histories().with_events(events, item_idx)
    whole = median_of(5, lambda: no_histories().with_events(events, item_idx))
    times = [
        median_of(15, lambda: found.with_events(pl.DataFrame(event), item_idx))  # noqa: B023
        for event in (
            {"user_id": ["u1"], "item_id": ["i1"]},
            {"user_id": ["new"], "item_id": ["i1"]},
            {"user_id": ["u1"], "item_id": ["unknown"]},
        )
    ]
    return " | ".join(f"{1e3 * seconds:,.1f}" for seconds in (whole, *times))


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), context.Queue()
        server = context.Process(target=serve_random, args=(given.items, folder, port))
        server.start()
        address = f"http://127.0.0.1:{port.get(timeout=300)}"
        time.sleep(1)
        print("| | connections | requests/s | p50 | p99 |\n|---|---:|---:|---:|---:|")
        for label, path, body in (
            ("recommend", "/recommend", HISTORIES % "false"),
            ("recommend, with reasons", "/recommend", HISTORIES % "true"),
            ("similar", "/similar?item_id=i7", None),
            ("add an event, on disk", "/events", EVENT),
            ("health: nothing computed", "/health", None),
        ):
            script = None
            if body is not None:
                script = folder / "wrk.lua"
                script.write_text(JSON_POST % (HISTORY - 1, given.items, body.replace("%%", "%")))
            for connections in CONNECTIONS:
                row = wrk(address + path, connections, given.seconds, script)
                print(f"| {label} | {connections} | {row} |", flush=True)
        server.terminate()
        server.join()
    bare = bare_rate(given.items, given.seconds)
    print(f"| the product alone, in {os.cpu_count()} threads | | {bare:,.0f} | | |\n")
    print(
        "| all events, ms | one more | of a new user | of an unknown item |\n|---:|---:|---:|---:|"
    )
    print(f"| {growth_row()} |")


if __name__ == "__main__":
    main()
