"""Recommendations over HTTP, for a catalogue that nobody trained on."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.cli.shop import Bundle, Columns, Device, Histories, Items, pairs


def serve(
    items: Items,
    histories: Histories = None,
    state: Annotated[
        Path | None, typer.Option(help="A folder that keeps what is added; else it is forgotten.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 8000,
    columns: Columns = None,
    bundle: Bundle = None,
    device: Device = None,
) -> None:
    """Serve recommendations over HTTP, with a page to try them at /.

    Items and events may be added while it runs.
    """
    # Imported here: the other commands need not wait for it.
    from recg_core.serving.server import ServeConfig, serve

    serve(ServeConfig(items, histories, bundle, pairs(columns), state, host, port, device))
