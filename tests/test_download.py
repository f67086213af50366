"""Downloads against a local server that misbehaves."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_sealed_json
from recg_core.raw.download import Retry, download

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FAST = Retry(attempts=3, wait=0.0, timeout=5.0)


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/file.gz": CONTENT})
    etag: str | None = '"one"'
    modified: str | None = None
    drops: list[int] = field(default_factory=list)  # bytes sent before each connection is cut
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    heeds_if_range: bool = True
    encoding: str | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        behaviour = self.behaviour
        behaviour.requests.append(dict(self.headers))
        if behaviour.statuses:
            self.send_error(behaviour.statuses.pop(0))
            return
        if self.path not in behaviour.files:
            self.send_error(404)
            return
        content = behaviour.files[self.path]
        validators = {behaviour.etag, behaviour.modified} - {None}
        if {self.headers["If-None-Match"], self.headers["If-Modified-Since"]} & validators:
            self.send_response(304)
            self.end_headers()
            return
        wanted, start = self.headers["Range"], 0
        if wanted and (self.headers["If-Range"] in validators or not behaviour.heeds_if_range):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        for name, value in (
            ("ETag", behaviour.etag),
            ("Last-Modified", behaviour.modified),
            ("Content-Encoding", behaviour.encoding),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()
        end = start + behaviour.drops.pop(0) if behaviour.drops else len(content)
        behaviour.sent += len(content[start:end])  # before the client can see the last byte
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("BoundHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}", behaviour
        http.shutdown()


def test_whole_file_arrives(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    part = download(f"{url}/file.gz", tmp_path / "parts", sha256=DIGEST, retry=FAST)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_dropped_connections_are_continued_not_restarted(
    server: tuple[str, Behaviour], tmp_path: Path, validator: str
) -> None:
    url, behaviour = server
    if validator == "modified":
        behaviour.etag, behaviour.modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
    # More drops than attempts: each gains bytes, so none counts as a failure in a row.
    behaviour.drops = [100_000] * 6
    part = download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert part.read_bytes() == CONTENT
    assert behaviour.sent == len(CONTENT)
    assert [r.get("Range") for r in behaviour.requests][:3] == [
        None,
        "bytes=100000-",
        "bytes=200000-",
    ]


def test_a_killed_download_is_continued_by_the_next_call(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.drops = [300_000, 0, 0, 0]
    with pytest.raises(UserError, match=r"gave up after 3 tries.*300000 bytes are kept"):
        download(f"{url}/file.gz", tmp_path, retry=FAST)
    behaviour.drops.clear()
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT
    assert behaviour.sent == len(CONTENT)


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_changed_remote_file_is_fetched_anew(
    server: tuple[str, Behaviour], tmp_path: Path, heeds_if_range: bool
) -> None:
    url, behaviour = server
    behaviour.drops = [300_000, 0, 0, 0]
    with pytest.raises(UserError):
        download(f"{url}/file.gz", tmp_path, retry=FAST)
    behaviour.files["/file.gz"] = CONTENT[::-1]
    behaviour.etag, behaviour.heeds_if_range = '"two"', heeds_if_range
    behaviour.drops.clear()
    part = download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert part.read_bytes() == CONTENT[::-1]


def test_without_a_validator_nothing_is_continued(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag = None
    behaviour.drops = [300_000]
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT
    assert [request.get("Range") for request in behaviour.requests] == [None, None]


def test_restarts_without_new_ground_are_bounded(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag = None
    behaviour.drops = [300_000] * 50
    with pytest.raises(UserError, match="gave up"):
        download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert len(behaviour.requests) == 3


@pytest.mark.parametrize("sha256", [None, DIGEST])
def test_a_whole_file_is_used_again_without_asking_the_server(
    server: tuple[str, Behaviour], tmp_path: Path, sha256: str | None
) -> None:
    url, behaviour = server
    for _ in range(2):
        part = download(f"{url}/file.gz", tmp_path, sha256=sha256, retry=FAST)
        assert part.read_bytes() == CONTENT
    assert len(behaviour.requests) == 1


def test_a_whole_file_whose_digest_was_not_recorded_is_confirmed_by_the_server(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    """As after a process that was killed while it read the file for its digest."""
    url, behaviour = server
    version = download(f"{url}/file.gz", tmp_path, retry=FAST).with_suffix(".json")
    recorded = read_sealed_json(version, "")
    write_sealed_json(version, {k: v for k, v in recorded.items() if k != "sha256"})
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT
    assert behaviour.requests[1]["If-None-Match"] == '"one"'
    assert behaviour.sent == len(CONTENT)
    assert read_sealed_json(version, "") == recorded


@pytest.mark.parametrize("damaged", [CONTENT[::-1], CONTENT[:-9], b""])
def test_a_whole_file_that_has_changed_on_disk_is_loaded_anew(
    server: tuple[str, Behaviour], tmp_path: Path, damaged: bytes
) -> None:
    url, _ = server
    part = download(f"{url}/file.gz", tmp_path / "parts", retry=FAST)
    part.unlink()
    part.write_bytes(damaged)
    part.chmod(0o444)
    (tmp_path / "link").hardlink_to(part)
    assert download(f"{url}/file.gz", tmp_path / "parts", retry=FAST).read_bytes() == CONTENT
    assert (tmp_path / "link").read_bytes() == damaged  # a linked file is never written to


def test_a_whole_file_with_another_digest_than_wanted_is_loaded_anew(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    """As when the row in params.yaml names the digest of a newer file."""
    url, behaviour = server
    download(f"{url}/file.gz", tmp_path, retry=FAST)
    behaviour.files["/file.gz"] = CONTENT[::-1]
    newer = hashlib.sha256(CONTENT[::-1]).hexdigest().upper()
    part = download(f"{url}/file.gz", tmp_path, sha256=newer, retry=FAST)
    assert part.read_bytes() == CONTENT[::-1]


def test_a_whole_file_that_was_deleted_is_loaded_again(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    download(f"{url}/file.gz", tmp_path, retry=FAST).unlink()
    behaviour.files["/file.gz"] = CONTENT[::-1]
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT[::-1]


def test_busy_server_is_tried_again(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    behaviour.statuses = [503, 429]
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT


def test_missing_file_fails_at_once(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    with pytest.raises(UserError, match=r"nothing\.gz: the server answered 404 Not Found"):
        download(f"{url}/nothing.gz", tmp_path, retry=FAST)
    assert len(behaviour.requests) == 1


def test_unreachable_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gave up after 3 tries"):
        download("http://127.0.0.1:9/file.gz", tmp_path, retry=FAST)


def test_wrong_digest_leaves_nothing(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, _ = server
    with pytest.raises(UserError, match=f"SHA-256 is {DIGEST}, expected abc"):
        download(f"{url}/file.gz", tmp_path, sha256="abc", retry=FAST)
    assert not list(tmp_path.iterdir())


def test_gzip_file_sent_as_gzip_encoded_stays_gzip(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.files["/file.gz"] = gzip.compress(CONTENT)
    behaviour.encoding = "gzip"
    part = download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert gzip.decompress(part.read_bytes()) == CONTENT
