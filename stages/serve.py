"""Recommendations over HTTP, for a catalogue that nobody trained on."""

from pathlib import Path
from typing import Annotated

import typer

from stages.recommend import pairs


def serve(
    items: Annotated[Path, typer.Option(help="The catalogue: ids and texts, in any format.")],
    histories: Annotated[
        Path | None, typer.Option(help="Who met what, oldest first or with times.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="A folder that keeps what is added; else it is forgotten.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 8000,
    columns: Annotated[
        str | None, typer.Option(help="Where names are not usual ones: user_id=reader,title=name.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="A bundle or a trained model; else the package's own.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Of torch, such as cpu or cuda.")] = None,
) -> None:
    """Serve recommendations over HTTP, with a page to try them at /.

    Items and events may be added while it runs.
    """
    # Imported here: the other commands need not wait for it.
    from recg_core.serving.server import ServeConfig, serve

    serve(ServeConfig(items, histories, bundle, pairs(columns), state, host, port, device))
