"""Load on the HTTP service: `python -m benchmarks.serve [--items 10000] [--seconds 10]`; needs wrk.

The package's own bundle over random unit vectors of 384 dimensions and the events of 1,000 users,
served by a process as `recg serve` does, state folder included. `wrk` asks for the best ten for
histories of ten items, one request at a time and sixteen. Beside it stand what an exact ranking has
to do at least, the product of ten vectors with all items and its top ten, on as many threads as
requests are computed by, and requests that compute nothing.
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

import torch

from benchmarks.recommend import HISTORY, catalogue
from recg_core.serving.eventlog import open_log
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.server import bound_socket, run

CONNECTIONS = (1, 16)
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
        live = LiveCatalogue(catalogue(num_items, folder / "cache"), events)
        port.put(place.getsockname()[1])
        run(live, place)


def wrk(address: str, connections: int, seconds: int, script: Path | None) -> str:
    """Requests a second, median and 99th percentile of the latency, as cells of a table."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += [] if script is None else ["-s", str(script)]
    done = subprocess.run([*command, address], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    latency = [re.search(rf"{p}%\s+(\S+)", done.stdout)[1] for p in (50, 99)]  # type: ignore[index]
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


def main() -> None:
    """Print a table."""
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
    print(f"| the product alone, in {os.cpu_count()} threads | | "
          f"{bare_rate(given.items, given.seconds):,.0f} | | |")  # fmt: skip


if __name__ == "__main__":
    main()
