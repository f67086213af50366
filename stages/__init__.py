"""The DVC stages: each script reads its params, calls `recg_core` and writes its outputs.

Their commands stand in `dvc.yaml`.
"""

import signal
import sys

# Of a script that is still importing there is nothing to clean up, and Ctrl-C shows no traceback:
# so this stands before the other imports, which take a second.
# Python runs this file before the script itself, whose name takes the place of "-m" afterwards.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import typer

from recg_core.base.access import machine_error
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
    """Run a stage's `main` as a command.

    A user's mistake, and what the machine refuses, exits with 1 and a message alone.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command-line application; see `run`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with _interruptible():
            app()
    except (UserError, OSError, MemoryError) as found:
        error = found if isinstance(found, UserError) else machine_error(found)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code in ENDINGS:
            print(ENDINGS[end.code], file=sys.stderr)
        raise


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C clean up, and a second one end the process at once."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of a job in the background
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
