"""The commands of `recg`."""

from importlib import metadata
from typing import Annotated

import typer

from recg_core.cli import check, compare, export, grid, recommend, search, serve, show, sweep
from recg_core.cli.running import run_app

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
app.command("recommend")(recommend.recommend)
app.command("serve")(serve.serve)
app.command("export")(export.export)
app.command("check")(check.main)
app.command("show")(show.main)
app.command("compare")(compare.main)
app.command("grid")(grid.grid)
app.command("sweep")(sweep.sweep)
app.command("search")(search.search)


def _version(asked: bool) -> None:
    if asked:
        print(metadata.version("llm-recg"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Say which it is.", callback=_version, is_eager=True)
]


@app.callback()
def options(version: Version = False) -> None:
    """Recommend in any shop, and work with the results of the pipeline."""


def main() -> None:
    """Run `recg`."""
    run_app(app)
