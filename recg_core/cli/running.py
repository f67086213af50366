"""Running a command: a user's mistake ends it with one line and status 1, Ctrl-C cleans up."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import typer

from recg_core.base.access import is_memory, machine_error
from recg_core.base.errors import UserError

# Must be set before anything imports torch. By default idle OpenMP threads spin, which costs
# nothing on a quiet machine and slows small operations up to fiftyfold when other programs use the
# cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

UNFINISHED = 75  # of a command whose time ran out, which goes on (EX_TEMPFAIL of sysexits)
# Where unfinished work waits for the next run of its stage: DVC knows nothing of it.
WORK = Path(".work")
# Packages of an extra by the name of what is imported of them.
EXTRAS = {
    "llm2vec": ("datasets", "llm2vec", "peft"),
    "pipeline": ("PIL", "dvc", "jinja2", "matplotlib"),
    "ray": ("ray",),
    "serve": ("fastapi", "prometheus_client", "starlette", "uvicorn"),
}
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
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    try:
        with _interruptible():
            app()
    except (UserError, OSError, MemoryError, RuntimeError) as found:
        if isinstance(found, RuntimeError) and not is_memory(found):
            raise
        error = found if isinstance(found, UserError) else machine_error(found)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = next((e for e, names in EXTRAS.items() if error.name in names), None)
        if extra is None:
            raise
        print(
            f"error: the package {error.name} is missing; pip install 'llm-recg[{extra}]'",
            file=sys.stderr,
        )
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
