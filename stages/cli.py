"""The console command `recg`: what is not a stage of the pipeline."""

import typer

from stages.common import run_app
from stages.search import search
from stages.sweep import sweep

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.command()(sweep)
app.command()(search)


def main() -> None:
    """Entry point of `recg`."""
    run_app(app)
