"""Downloads that survive dropped connections, killed processes and changed files."""

import hashlib
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from recg_core.base.access import writing
from recg_core.base.errors import UserError
from recg_core.base.files import locked_file, read_json, sha256_file, write_json

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
MAX_WAIT = 60.0  # seconds between two tries
TRANSIENT = {408, 425, 429}  # besides the server's own errors, 500 and above


@dataclass(frozen=True)
class Retry:
    """How long to insist.

    Attributes:
        attempts: failures in a row, without a byte gained, after which to give up.
        wait: seconds before the second try; doubled each time, up to a minute.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    attempts: int = 6
    wait: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True)
class _Part:
    """The part of a file that is on disk, and the version of the file that it is a part of."""

    path: Path  # the bytes; beside it, the version as JSON

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> dict[str, str]:
        """`{"etag" | "modified": ..., "total": ...}` as far as the server told; {} if unknown.

        Of a whole file also its `sha256`.
        """
        try:
            return read_json(self._version_path)
        except UserError:
            return {}

    @property
    def is_complete(self) -> bool:
        return self.path.exists() and self.version.get("total") == str(self.size)

    def describe(self, version: dict[str, str]) -> None:
        """Say what the bytes are a part of."""
        write_json(self._version_path, version)

    def restart(self, version: dict[str, str]) -> None:
        """Forget the bytes; those to come are of `version`."""
        # Deleted, never overwritten: other folders may hold the file by a link.
        self.path.unlink(missing_ok=True)
        self.describe(version)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    @property
    def _version_path(self) -> Path:
        return self.path.with_suffix(".json")


class _Lost(Exception):
    """The connection or the server failed; another try may help."""


def download(
    url: str, partial_dir: Path, *, sha256: str | None = None, retry: Retry | None = None
) -> Path:
    """Download `url` into `partial_dir` and return the path of the whole file, which stays there.

    A whole file that is there already is used as it is, without asking the server, if it has the
    SHA-256 that it had when it was loaded, and that is not another than wanted; to load it anew,
    delete it. A part is continued (HTTP Range) if the server confirms, by ETag or Last-Modified,
    that it is of the same file; otherwise it is fetched anew.

    Args:
        partial_dir: a folder that outlives the caller's output. The caller may link to its files
            and must not write to them.
        sha256: the digest that the file must have.

    Raises:
        UserError: when the server refuses or stays unreachable, the digest is another, the
            disk is full, or another process is loading the same file. What was loaded is kept for
            the next call, except with a wrong digest.
    """
    retry = retry or Retry()
    name = url.rstrip("/").rsplit("/", 1)[-1]
    with writing(partial_dir):
        partial_dir.mkdir(parents=True, exist_ok=True)
    part = _Part(partial_dir / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}.part")
    wanted = None if sha256 is None else sha256.lower()
    with locked_file(part.path):
        if _is_kept(part, wanted):
            return part.path
        digest = _load_all(url, part, retry)
        if wanted in (None, digest):
            return part.path
        part.remove()
        raise UserError(f"{url}: its SHA-256 is {digest}, expected {sha256}; the file was deleted")


def _is_kept(part: _Part, wanted: str | None) -> bool:
    """Whether a file that was loaded whole can be used; if it has changed since, it is removed."""
    recorded = part.version.get("sha256")
    if recorded is None or not part.path.exists():
        return False
    if wanted in (None, recorded) and sha256_file(part.path) == recorded:
        return True
    log.warning("%s: is not the file that is wanted; loading it anew", part.path)
    part.remove()
    return False


def _load_all(url: str, part: _Part, retry: Retry) -> str:
    """Load what is missing, in as many tries as it takes; the SHA-256 of the whole."""
    failures, furthest = 0, part.size
    while True:
        try:
            _load(url, part, retry.timeout)
            break
        except _Lost as lost:
            # Only new ground counts as progress, so that restarts cannot go on for ever.
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures >= retry.attempts:
                raise UserError(
                    f"{url}: gave up after {failures} tries ({lost}); {part.size} bytes are kept "
                    f"in {part.path.parent}: run again to continue"
                ) from lost
            wait = min(retry.wait * 2 ** (failures - 1), MAX_WAIT)
            log.info("%s: %s; trying again in %.0f s", url, lost, wait)
            time.sleep(wait)
        except OSError as error:
            raise UserError(f"{part.path}: could not be written ({error})") from error
    digest = sha256_file(part.path)
    part.describe(part.version | {"sha256": digest})
    return digest


def _load(url: str, part: _Part, timeout: float) -> None:
    """One request: load the rest of `part`, or all of it when the file has changed."""
    # A file that the server compresses on the way could be neither counted nor continued.
    headers = {"Accept-Encoding": "identity"} | _conditions(part)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == 304:
                return
            _check_status(url, response, part)
            version = _version(response)
            if response.status_code != 206:
                part.restart(version)
            elif not _continues(response, part, version):
                part.remove()
                raise _Lost("the file has changed on the server")
            _write(response, part, version)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise UserError(f"{url}: not a usable address ({error})") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Lost(f"the connection was lost: {error}") from error
    total = version.get("total")
    if total is not None and part.size != int(total):
        raise _Lost(f"the connection was closed after {part.size} of {total} bytes")
    # A server that tells no length leaves only the end of the stream to go by.
    part.describe(version | {"total": str(part.size)})


def _conditions(part: _Part) -> dict[str, str]:
    """The headers that ask for no more than is missing."""
    version = part.version
    etag, modified = version.get("etag"), version.get("modified")
    if part.is_complete and etag:
        return {"If-None-Match": etag}
    if part.is_complete and modified:
        return {"If-Modified-Since": modified}
    # If-Range takes no weak ETag.
    validator = etag if etag and not etag.startswith("W/") else modified
    if not part.size or part.is_complete or validator is None:
        return {}
    return {"Range": f"bytes={part.size}-", "If-Range": validator}


def _check_status(url: str, response: requests.Response, part: _Part) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:
        part.remove()
        raise _Lost("the server has no such range")
    if status >= 500 or status in TRANSIENT:
        raise _Lost(f"the server answered {status} {response.reason}")
    raise UserError(
        f"{url}: the server answered {status} {response.reason}; check the location and the "
        "name of the category"
    )


def _version(response: requests.Response) -> dict[str, str]:
    headers = response.headers
    total = headers.get("Content-Length")
    if response.status_code == 206:
        total = headers.get("Content-Range", "").rpartition("/")[2]
    found = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified")}
    if total is not None and total.isdigit():
        found["total"] = total
    return {name: value for name, value in found.items() if value}


def _continues(response: requests.Response, part: _Part, version: dict[str, str]) -> bool:
    """Whether a 206 answer is the rest of what is on disk; not all servers heed If-Range."""
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    known = part.version
    same = all(version.get(key, value) == value for key, value in known.items())
    return start is not None and int(start.group(1)) == part.size and same


def _write(response: requests.Response, part: _Part, version: dict[str, str]) -> None:
    total = int(version["total"]) if "total" in version else None
    name = part.path.name.removesuffix(".part").partition("-")[2]
    with (
        part.path.open("ab") as stream,
        tqdm(
            total=total, initial=part.size, desc=name, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        # Not iter_content, which would unpack a .gz file that is sent as gzip-encoded.
        while block := response.raw.read(CHUNK_BYTES, decode_content=False):
            stream.write(block)
            bar.update(len(block))
