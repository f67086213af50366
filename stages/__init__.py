"""The DVC stages: each script reads its params, calls `recg_core` and writes its outputs.

Their commands stand in `dvc.yaml`.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from recg_core.base.errors import UserError

# Must be set before anything imports torch. By default idle OpenMP threads spin, which costs
# nothing on a quiet machine and slows small operations up to fiftyfold when other programs use the
# cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Where unfinished work waits for the next run of its stage: DVC knows nothing of it.
WORK = Path(".work")
UNFINISHED = 75  # of a stage whose time ran out: the same command goes on (EX_TEMPFAIL of sysexits)
# What is said at exit statuses; typer gives 130 to Ctrl-C.
ENDINGS = {130: "interrupted", UNFINISHED: "time ran out; the same command goes on from here"}


def run(main: Callable[..., None]) -> None:
    """Run a stage's `main` as a command: a user's mistake exits with 1 and its message alone."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command-line application; see `run`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code in ENDINGS:
            print(ENDINGS[end.code], file=sys.stderr)
        raise
