"""A process that serves a catalogue."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recg_core.base.errors import UserError

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 75  # longer than proxies keep theirs
GOODBYE_SECONDS = 10


@dataclass(frozen=True)
class ServeConfig:
    """What is served where.

    Attributes:
        bundle: None: the one that the package carries.
        columns: role -> column where the names are not usual ones.
        state: keeps what is added; None: it ends with the process.
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
        UserError: when the address is taken, the state belongs to another process, the libraries
            of the extra `serve` are missing, or anything cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            import uvicorn

            from recg_core.serving.service import create_app
        except ModuleNotFoundError as error:
            raise UserError(
                f"the package {error.name} is missing; pip install 'llm-recg[serve]'"
            ) from error
        from recg_core.serving.eventlog import open_log
        from recg_core.serving.live import LiveCatalogue

        # First what fails fast: a model takes seconds to load.
        place = stack.enter_context(bound_socket(config.host, config.port))
        events = None if config.state is None else stack.enter_context(open_log(config.state))
        if events is None:
            log.warning("without --state what is added ends with this process")
        app = create_app(LiveCatalogue(_catalogue(config), events))
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
        )
        host, port = place.getsockname()[:2]
        log.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        uvicorn.Server(settings).run(sockets=[place])
