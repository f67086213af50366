"""`recg serve` as people run it: a process, its signals, its port, its folder."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.project import ROOT

GIGABYTE = 1 << 30
TITLES = ["Guitar strings", "Guitar strap", "Guitar tuner", "Cooking pot", "Chef's knife"]


@dataclass
class Running:
    """A server, and what it has said until it was ready."""

    process: subprocess.Popen[str]
    port: int
    said: str

    def ask(self, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"content-type": "application/json"}
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, content, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            text = answer.read()
            return text.decode() if path == "/metrics" else json.loads(text)


def command(folder: Path, *words: str) -> list[str]:
    table = ["--items", str(folder / "items.csv"), "--state", str(folder / "state")]
    return [sys.executable, "-m", "recg_core.cli", "serve", *table, *words]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        command(folder, "--port", "0"), cwd=folder, env=environment(folder),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if found := re.search(r"serving on http://127\.0\.0\.1:(\d+)", line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                yield Running(process, int(found[1]), said)
                return
        pytest.fail(f"it ended before it served:\n{said}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shop")
    pl.DataFrame({"id": [f"x{n}" for n in range(5)], "title": TITLES}).write_csv(
        place / "items.csv"
    )
    return place


def refused(folder: Path, *words: str) -> str:
    """What a server says that ends at once."""
    done = subprocess.run(
        command(folder, *words), cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_what_was_acknowledged_survives_a_kill(folder: Path) -> None:
    """The process is killed while it adds; the next one has all that it said it had."""
    acknowledged: list[str] = []

    def add(server: Running, adder: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for n in range(100_000):
                user = f"a{adder}-{n}"
                server.ask("/events", {"events": [{"user_id": user, "item_id": "x0"}]})
                acknowledged.append(user)

    with running(folder) as server:
        item = {"item_id": "new", "title": "A purple hat"}
        assert server.ask("/items", {"items": [item]}) == {"added": 1}
        adders = [threading.Thread(target=add, args=(server, n)) for n in range(3)]
        for adder in adders:
            adder.start()
        while len(acknowledged) < 50:
            adders[0].join(0.01)
        server.process.send_signal(signal.SIGKILL)
        for adder in adders:
            adder.join()
    with running(folder) as server:
        health = server.ask("/health")
        assert health["items"] == len(TITLES) + 1
        assert len(acknowledged) <= health["users"] <= len(acknowledged) + len(adders)
        for user in acknowledged:
            found = server.ask("/recommend", {"user_id": user, "k": 9})["recommendations"]
            assert "x0" not in [each["item_id"] for each in found]
        assert server.ask("/search?q=purple")["items"] == [item]


def test_a_port_or_a_folder_in_use_is_one_line(folder: Path) -> None:
    with running(folder) as server:
        taken = refused(folder, "--port", str(server.port))
        assert taken.startswith(f"error: 127.0.0.1:{server.port}: Address already in use; choose")
        shared = refused(folder, "--port", "0")
        assert "added.jsonl: another run is writing it" in shared
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == -signal.SIGTERM
    assert refused(folder, "--host", "no such host").startswith("error: --host no such host: ")


def test_a_missing_extra_is_named(folder: Path) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['recg', 'serve', '--items', 'x'];"
        "from recg_core.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: the package uvicorn is missing; pip install 'llm-recg[serve]'\n"


def test_a_gigabyte_is_refused_and_never_held(folder: Path) -> None:
    """Whether its length is announced or not."""
    piece = b" " * (1 << 20)
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    with running(folder) as server:
        before = memory_of(server)
        for length, part in (
            (f"content-length: {GIGABYTE}", piece),
            ("transfer-encoding: chunked", chunk),
        ):
            sent, answer = sent_until_answered(server, length, part)
            assert answer.startswith("HTTP/1.1 413 ")
            assert '{"error":"the body has more than 4,194,304 bytes' in answer
            assert sent < GIGABYTE / 4
        assert memory_of(server) < before + (64 << 20)
        assert server.ask("/health")["status"] == "ok"


def sent_until_answered(server: Running, length: str, part: bytes) -> tuple[int, str]:
    """Bytes of a body that were sent before there was an answer, and the answer."""
    head = f"POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{length}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(f"{head}\r\n\r\n".encode())
        sent = 0
        while sent < GIGABYTE and not select.select([client], [], [], 0)[0]:
            sent += client.send(part)
        answer = ""
        while "}" not in answer:
            received = client.recv(1 << 16).decode()
            assert received, answer
            answer += received
    return sent, answer


def memory_of(server: Running) -> float:
    found = re.search(r"^process_resident_memory_bytes (\S+)$", server.ask("/metrics"), re.M)
    assert found is not None
    return float(found[1])
