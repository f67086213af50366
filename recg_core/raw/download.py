"""Downloads that survive dropped connections, killed processes and changed files.

An address may hold a password or a signature: no message, log or file name repeats it.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import responses as REASONS
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from recg_core.base.access import writing
from recg_core.base.errors import UserError
from recg_core.base.files import locked_file, read_sealed_json, sha256_file, write_sealed_json
from recg_core.base.secrets import HIDDEN, without_secrets

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
MAX_WAIT = 60.0  # seconds between two tries
TRANSIENT = {408, 425, 429}  # besides the server's own errors, 500 and above
SETTLED_SECONDS = 60  # a file that was changed less long ago may change within the same second


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

        Of a whole file also its `sha256`; `joined` where no validator says that its parts belong
        together.
        """
        try:
            return read_sealed_json(self._version_path, "it is loaded anew")
        except UserError:
            return {}

    @property
    def is_complete(self) -> bool:
        return self.path.exists() and self.version.get("total") == str(self.size)

    def describe(self, version: dict[str, str]) -> None:
        """Say what the bytes are a part of."""
        write_sealed_json(self._version_path, version)

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


@dataclass(frozen=True)
class _Request:
    """What is asked for."""

    url: str
    sha256: str | None
    retry: Retry
    other_hosts: set[str] = field(
        default_factory=set
    )  # that it was redirected to, and that is said

    @property
    def shown(self) -> str:
        """The address as it may be read by others."""
        return without_secrets(self.url)

    def part_in(self, folder: Path) -> _Part:
        """Where its bytes go; another password does not make another file."""
        parts = urlsplit(self.url)
        public = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        name = re.sub(r"[^A-Za-z0-9._-]", "_", parts.path.rstrip("/").rpartition("/")[2])[-100:]
        return _Part(folder / f"{hashlib.sha256(public.encode()).hexdigest()[:12]}-{name}.part")


def download(
    url: str, partial_dir: Path, *, sha256: str | None = None, retry: Retry | None = None
) -> Path:
    """Download `url` into `partial_dir` and return the path of the whole file, which stays there.

    A whole file that is there already is used as it is, without asking the server, if it has the
    SHA-256 that it had when it was loaded, and that is not another than wanted; to load it anew,
    delete it. A part is continued (HTTP Range) if the server confirms, by ETag or Last-Modified,
    that it is of the same file, or if the server has neither and `sha256` will tell; otherwise it
    is fetched anew. A redirect to another host is logged.

    Args:
        partial_dir: a folder that outlives the caller's output. The caller may link to its files
            and must not write to them.
        sha256: the digest that the file must have.

    Raises:
        UserError: when the address is none, the server refuses or stays unreachable, the digest is
            another, the disk is full, or another process is loading the same file. What was loaded
            is kept for the next call, except with a wrong digest.
    """
    request = _Request(url, None if sha256 is None else sha256.lower(), retry or Retry())
    _check_address(url)
    with writing(partial_dir):
        partial_dir.mkdir(parents=True, exist_ok=True)
    part = request.part_in(partial_dir)
    with locked_file(part.path), _quiet_libraries():
        if _is_kept(part, request.sha256):
            return part.path
        digest = _load_all(request, part)
        if request.sha256 not in (None, digest) and "joined" in part.version:
            log.info("%s: its parts are of different files; loading it anew", request.shown)
            part.remove()
            digest = _load_all(request, part)
        if request.sha256 in (None, digest):
            return part.path
        part.remove()
        raise UserError(f"{url}: its SHA-256 is {digest}, expected {sha256}; the file was deleted")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        unquoted = parts.port is not None and "@" in parts.path and "@" not in parts.netloc
    except ValueError:  # a port that is no number, or half an IPv6 address
        usable = unquoted = False
    if not usable or unquoted:
        raise UserError(
            f"{url}: not a usable address; it begins with http:// or https:// and a host, and "
            "special characters of a password are written as %2F and the like"
        )


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Hold back the log of urllib3, which repeats addresses whole."""
    logger = logging.getLogger("urllib3")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


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


def _load_all(request: _Request, part: _Part) -> str:
    """Load what is missing, in as many tries as it takes; the SHA-256 of the whole."""
    retry, failures, furthest = request.retry, 0, part.size
    while True:
        try:
            _load(request, part)
            break
        except _Lost as lost:
            # Only new ground counts as progress, so that restarts cannot go on for ever.
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures >= retry.attempts:
                raise UserError(
                    f"{request.url}: gave up after {failures} tries ({lost}); {part.size} bytes "
                    f"are kept in {part.path.parent}: run again to continue"
                ) from lost
            wait = min(retry.wait * 2 ** (failures - 1), MAX_WAIT)
            log.info("%s: %s; trying again in %.0f s", request.shown, lost, wait)
            time.sleep(wait)
        except OSError as error:
            raise UserError(f"{part.path}: could not be written ({error})") from error
    digest = sha256_file(part.path)
    part.describe(part.version | {"sha256": digest})
    return digest


def _load(request: _Request, part: _Part) -> None:
    """One request: load the rest of `part`, or all of it when the file has changed."""
    # A file that the server compresses on the way could be neither counted nor continued.
    headers = {"Accept-Encoding": "identity"} | _conditions(request, part)
    timeout = request.retry.timeout
    try:
        with requests.get(request.url, headers=headers, stream=True, timeout=timeout) as response:
            _note_redirect(request, response)
            if response.status_code == 304:
                return
            _check_status(request.url, response, part)
            version = _version(response)
            if response.status_code != 206:
                part.restart(version)
            elif not _continues(request, response, part, version):
                part.remove()
                raise _Lost("the file has changed on the server")
            else:
                joined = {} if _validator(part.version) else {"joined": "yes"}
                version = part.version | version | joined
            _write(response, part, version)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise UserError(f"{request.url}: not a usable address ({_words(error)})") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Lost(f"the connection was lost: {_words(error)}") from None
    total = version.get("total")
    if total is not None and part.size != int(total):
        raise _Lost(f"the connection was closed after {part.size} of {total} bytes")
    # A server that tells no length leaves only the end of the stream to go by.
    part.describe(version | {"total": str(part.size)})


def _words(error: Exception) -> str:
    """What a library says of an error; it may repeat the path of an address with its query."""
    return re.sub(r"\?\S*", f"?{HIDDEN}", without_secrets(str(error)))


def _note_redirect(request: _Request, response: requests.Response) -> None:
    """Say once that a file comes from another host than was asked."""
    asked, answered = urlsplit(request.url).hostname, urlsplit(response.url).hostname
    if answered != asked and answered not in request.other_hosts:
        request.other_hosts.add(str(answered))
        log.warning("%s: redirects to another host, %s", asked, answered)


def _conditions(request: _Request, part: _Part) -> dict[str, str]:
    """The headers that ask for no more than is missing."""
    version = part.version
    etag, modified = version.get("etag"), version.get("modified")
    if part.is_complete and etag:
        return {"If-None-Match": etag}
    if part.is_complete and modified:
        return {"If-Modified-Since": modified}
    if not part.size or part.is_complete:
        return {}
    rest = {"Range": f"bytes={part.size}-"}
    if validator := _validator(version):
        return rest | {"If-Range": version[validator]}
    return rest if request.sha256 else {}


def _validator(version: dict[str, str]) -> str | None:
    """What tells versions of a file apart: `etag`, unless it is a weak one, or `modified`."""
    if "etag" in version and not version["etag"].startswith("W/"):
        return "etag"
    return "modified" if "modified" in version else None


def _check_status(url: str, response: requests.Response, part: _Part) -> None:
    status = response.status_code
    answer = f"the server answered {status} {REASONS.get(status, '')}".rstrip()
    if status in (200, 206):
        return
    if status == 416:
        part.remove()
        raise _Lost("the server has no such range")
    if status >= 500 or status in TRANSIENT:
        raise _Lost(answer)
    raise UserError(f"{url}: {answer}; check the location and the name of the category")


def _version(response: requests.Response) -> dict[str, str]:
    headers = response.headers
    total = headers.get("Content-Length")
    if response.status_code == 206:
        total = headers.get("Content-Range", "").rpartition("/")[2]
    found = {"etag": headers.get("ETag"), "modified": _settled(response)}
    if total is not None and total.isdigit():
        found["total"] = total
    return {name: value for name, value in found.items() if value}


def _settled(response: requests.Response) -> str | None:
    """Last-Modified, if it is long enough ago to tell versions apart (RFC 9110, 8.8.2.2)."""
    modified, now = (response.headers.get(name, "") for name in ("Last-Modified", "Date"))
    try:
        age = parsedate_to_datetime(now) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):  # missing or no date
        return None
    return modified if age.total_seconds() >= SETTLED_SECONDS else None


def _continues(
    request: _Request, response: requests.Response, part: _Part, version: dict[str, str]
) -> bool:
    """Whether a 206 answer is the rest of what is on disk; not all servers heed If-Range."""
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    known = part.version
    if start is None or int(start.group(1)) != part.size:
        return False
    if any(version.get(key, value) != value for key, value in known.items()):
        return False
    validator = _validator(known)
    # Without one, the digest of the whole is what tells.
    return request.sha256 is not None if validator is None else validator in version


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
