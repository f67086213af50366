"""A process that serves a catalogue."""

import contextlib
import importlib
import logging
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recg_core.base.access import reason
from recg_core.base.errors import UserError
from recg_core.serving.eventlog import EventLog, open_log

if TYPE_CHECKING:
    from recg_core.serving.live import LiveCatalogue

log = logging.getLogger(__name__)

EXTRA = ("fastapi", "prometheus_client", "uvicorn")
MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 75  # longer than proxies keep theirs
GOODBYE_SECONDS = 10


@dataclass(frozen=True)
class ServeConfig:
    """What is served where.

    Attributes:
        items: the catalogue's table.
        histories: who met what; None: nobody yet.
        bundle: None: the one that the package carries.
        columns: role -> column where the names are not usual ones.
        state: a folder that keeps what is added; None: it ends with the process.
        port: 0: a free one.
        device: of torch; None: the GPU where there is one.
    """

    items: Path
    histories: Path | None
    bundle: Path | None
    columns: Mapping[str, str]
    state: Path | None
    host: str
    port: int
    device: str | None


def serve(config: ServeConfig) -> None:
    """Serve until the process is told to end.

    Raises:
        UserError: when the address is taken, another process adds to the same state, the libraries
            of the extra `serve` are missing, or anything cannot be read.
    """
    _check_extra()
    with contextlib.ExitStack() as stack:
        # First what fails at once: a model takes seconds to load.
        place = stack.enter_context(bound_socket(config.host, config.port))
        events = None if config.state is None else stack.enter_context(open_log(config.state))
        if events is None:
            log.warning("without --state, what is added ends with this process")
        run(_live(config, events), place)


@contextlib.contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A TCP socket at an address that nobody else has; it does not listen yet.

    Raises:
        UserError: when there is no such address, or it is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # Of a socket whose protocol is not said, asyncio does not know that it must not wait.
        place = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host}: {reason(error)}") from error
    with place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind(address)
        except OSError as error:
            said = f"{host}:{port}: {reason(error)}; choose another --host or --port"
            raise UserError(said) from error
        yield place


def _check_extra() -> None:
    for name in EXTRA:
        importlib.import_module(name)


def _live(config: ServeConfig, events: EventLog | None) -> "LiveCatalogue":
    # Imported here: what fails at once need not wait for torch.
    from recg_core.serving.live import LiveCatalogue
    from recg_core.serving.recommender import Recommender

    model = Recommender.load(config.bundle, device=config.device)
    shop = model.fit_catalogue(config.items, config.histories, columns=config.columns)
    return LiveCatalogue(shop, events)


def run(live: "LiveCatalogue", place: socket.socket) -> None:
    """Serve a catalogue at a bound socket until the process is told to end."""
    import torch
    import uvicorn

    from recg_core.serving.service import create_app

    torch.set_num_threads(1)  # of a request: as many of them as there are cores compute at once
    settings = uvicorn.Config(
        create_app(live),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )
    place.listen()
    host, port = place.getsockname()[:2]
    log.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    uvicorn.Server(settings).run(sockets=[place])
