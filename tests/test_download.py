"""Downloads against a local server that misbehaves."""

import base64
import gzip
import hashlib
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_sealed_json
from recg_core.raw.download import Retry, download
from recg_core.raw.fetch import fetch
from tests.project import bytes_below
from tests.rows import amazon2023_row, write_amazon

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FAST = Retry(attempts=3, wait=0.0, timeout=5.0)
SECRET = "hunter2"


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/file.gz": CONTENT})
    etag: str | None = '"one"'
    modified: str | None = None
    drops: list[int] = field(default_factory=list)  # bytes sent before each connection is cut
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    heeds_if_range: bool = True
    says_which_part_it_is_of: bool = True  # whether a part has the validators of the whole
    encoding: str | None = None
    redirect: str | None = None  # where requests to 127.0.0.1 are sent
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        behaviour = self.behaviour
        behaviour.requests.append(dict(self.headers))
        behaviour.paths.append(self.path)
        if behaviour.statuses:
            self.send_error(behaviour.statuses.pop(0))
            return
        path = self.path.partition("?")[0]
        if behaviour.redirect and self.headers["Host"].startswith("127.0.0.1"):
            self.send_response(302)
            self.send_header("Location", behaviour.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path not in behaviour.files:
            self.send_error(404, SECRET)
            return
        content = behaviour.files[path]
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
        told = start == 0 or behaviour.says_which_part_it_is_of
        for name, value in (
            ("ETag", behaviour.etag if told else None),
            ("Last-Modified", behaviour.modified if told else None),
            ("Content-Encoding", behaviour.encoding),
            *behaviour.headers.items(),
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


@pytest.mark.parametrize(
    "modified",
    [
        pytest.param(lambda: None, id="no validator"),
        # It may change again within the second that Last-Modified is exact to.
        pytest.param(lambda: formatdate(usegmt=True), id="changed just now"),
    ],
)
def test_without_a_validator_nothing_is_continued(
    modified: Callable[[], str | None], server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag, behaviour.modified = None, modified()
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
    with pytest.raises(UserError, match=r"nothing\.gz: the server answered 404 Not Found;"):
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


def test_a_part_of_which_the_server_does_not_say_what_it_is_of_is_never_joined(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    """The file has changed, If-Range is not heeded, and the part has no ETag of its own."""
    url, behaviour = server
    behaviour.drops = [300_000, 0, 0, 0]
    with pytest.raises(UserError):
        download(f"{url}/file.gz", tmp_path, retry=FAST)
    behaviour.files["/file.gz"] = CONTENT[::-1]
    behaviour.heeds_if_range = behaviour.says_which_part_it_is_of = False
    behaviour.drops.clear()
    assert download(f"{url}/file.gz", tmp_path, retry=FAST).read_bytes() == CONTENT[::-1]


def test_without_a_validator_a_known_digest_allows_to_continue(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag, behaviour.heeds_if_range = None, False
    behaviour.drops = [300_000]
    part = download(f"{url}/file.gz", tmp_path, sha256=DIGEST, retry=FAST)
    assert part.read_bytes() == CONTENT
    assert behaviour.sent == len(CONTENT)


def test_parts_of_two_files_are_found_by_the_digest_and_loaded_anew(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    behaviour.etag, behaviour.heeds_if_range = None, False
    behaviour.files["/file.gz"] = CONTENT[::-1]
    behaviour.drops = [300_000, 0, 0, 0]
    with pytest.raises(UserError):
        download(f"{url}/file.gz", tmp_path, sha256=DIGEST, retry=FAST)
    behaviour.files["/file.gz"] = CONTENT
    behaviour.drops.clear()
    part = download(f"{url}/file.gz", tmp_path, sha256=DIGEST, retry=FAST)
    assert part.read_bytes() == CONTENT
    with pytest.raises(UserError, match="SHA-256"):
        download(f"{url}/file.gz", tmp_path, sha256="0" * 64, retry=FAST)


def test_a_redirect_to_another_host_is_said_once_by_hosts_alone(
    server: tuple[str, Behaviour], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, behaviour = server
    behaviour.redirect = f"{url.replace('127.0.0.1', 'localhost')}/file.gz?sig={SECRET}"
    behaviour.drops = [300_000, 300_000]
    with caplog.at_level("DEBUG"):
        part = download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert part.read_bytes() == CONTENT
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said == ["127.0.0.1: redirects to another host, localhost"]
    assert SECRET not in caplog.text


def test_the_same_host_is_no_other_host(
    server: tuple[str, Behaviour], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = server
    download(f"{url}/file.gz", tmp_path, retry=FAST)
    assert not caplog.records


TROUBLES = {
    "none": {},
    "missing": {"files": {}},
    "busy": {"statuses": [503] * 9},
    "cut": {"drops": [0] * 9},
    "loop": {"redirect": "/file.gz?token=" + SECRET},
    "nowhere": {"redirect": f"http://{SECRET}:{SECRET}@127.0.0.1:9/x?sig={SECRET}"},
    "no_address": {"redirect": f"ftp://{SECRET}@127.0.0.1/x?sig={SECRET}#{SECRET}"},
    "bad_header": {"headers": {"X": "1\r\nno header line", "Content-Range": "bytes x"}},
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("sha256", [None, "abc"])
def test_no_message_log_or_file_repeats_what_is_secret_in_an_address(
    server: tuple[str, Behaviour],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    sha256: str | None,
) -> None:
    url, behaviour = server
    for name, value in TROUBLES[trouble].items():
        setattr(behaviour, name, value)
    keys = f"token={SECRET}&X-Amz-Signature={SECRET}&{SECRET}=1#{SECRET}"
    address = f"{url.replace('//', f'//{SECRET}:{SECRET}%2F@')}/file.gz?{keys}"
    told = ""
    with caplog.at_level("DEBUG"):
        try:
            download(address, tmp_path, sha256=sha256, retry=FAST)
        except UserError as error:
            told = "".join(traceback.format_exception(error))
    assert not told or "UserError: http://127.0.0.1:" in told or "not a usable address" in told
    assert bool(told) == (trouble not in ("none", "bad_header") or sha256 is not None)
    written = [f"{path.name} {path.read_bytes()!r}" for path in tmp_path.rglob("*")]
    assert SECRET not in "\n".join([told, caplog.text, *written])
    # And yet the server is asked with all of it.
    credentials = base64.b64encode(f"{SECRET}:{SECRET}/".encode()).decode()
    assert behaviour.requests[0]["Authorization"] == f"Basic {credentials}"
    assert behaviour.paths[0] == f"/file.gz?{keys.partition('#')[0]}"


@pytest.mark.parametrize(
    "address",
    [
        f"http://me:{SECRET}/x@host/file.gz",
        f"http://me:12/{SECRET}@host/file.gz",
        f"http://me:{SECRET}?x@host/file.gz",
        f"http://[{SECRET}@/file.gz",
        f"ftp://me:{SECRET}@host/file.gz",
        f"file.gz:///?token={SECRET}",
        f"http:///?token={SECRET}",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a usable address") as refused:
        download(address, tmp_path, retry=FAST)
    assert SECRET not in str(refused.value)


def test_another_password_is_the_same_file(server: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = server
    for password in ("one", "two"):
        download(f"{url.replace('//', f'//me:{password}@')}/file.gz", tmp_path, retry=FAST)
    assert len(behaviour.requests) == 1


def test_a_domain_fetched_with_a_signature_does_not_keep_it(
    server: tuple[str, Behaviour], tmp_path: Path
) -> None:
    url, behaviour = server
    write_amazon(tmp_path / "amazon")
    behaviour.files = {f"/data/{k}": v for k, v in bytes_below(tmp_path / "amazon").items()}
    row = amazon2023_row(tmp_path / "amazon")
    row["location"] = f"{url.replace('//', f'//me:{SECRET}@')}/data/?sig={SECRET}"
    fetch(
        "lamps", {"reader": "amazon2023", **row}, "domains.lamps", tmp_path / "raw",
        tmp_path / "parts",
    )  # fmt: skip
    assert all(path.endswith(f"?sig={SECRET}") for path in behaviour.paths)
    kept = bytes_below(tmp_path / "raw") | bytes_below(tmp_path / "parts")
    assert SECRET not in repr(kept)
    assert json.loads(kept["source.json"])["row"]["location"] == f"{url}/data/?***"
