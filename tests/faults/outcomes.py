"""What became of a run on something damaged.

`right`: it finished with the right result. `refused`: one line "error: …" and exit 1, or a
UserError. The rest are defects: `silent`, finished with a wrong result; `traceback`, any other
exception; `hang`, not over within its time.
"""

import multiprocessing
import re
import signal
import subprocess
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TimePassed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

GOOD, BAD = ("right", "refused"), ("silent", "traceback", "hang")


class Outcomes(Counter[str]):
    """How many runs ended in which way.

    Attributes:
        examples: of every defect what happened and how to repeat it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.examples: list[str] = []

    def add(self, outcome: str, example: str) -> None:
        """Count a run; `example` says what was done, what happened and how to repeat it."""
        self[outcome] += 1
        if outcome in BAD:
            self.examples.append(f"{outcome}: {example}")

    @property
    def defects(self) -> int:
        """How many runs were neither right nor refused."""
        return sum(self[outcome] for outcome in BAD)


class Watched:
    """Calls functions in another process, which is replaced when it dies or hangs.

    Args:
        seconds: that a call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def call(self, judge: Callable[..., tuple[str, str]], *arguments: Any) -> tuple[str, str]:
        """The outcome that `judge` gives and its detail; what it raises is a `traceback`."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context)
            self._pool.submit(int).result()  # its start is not part of the call's time
        try:
            return self._pool.submit(judge, *arguments).result(self._seconds)
        except TimePassed:
            for process in (self._pool._processes or {}).values():
                process.kill()
            self._end()
            return "hang", f"not over after {self._seconds} s"
        except BrokenProcessPool:
            self._end()
            return "traceback", "the process died"
        except Exception as error:
            said = "".join(traceback.format_exception(error.__cause__ or error)).strip('"\n')
            return "traceback", "\n".join(said.splitlines()[-7:])

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def run_command(
    command: Sequence[str], folder: Path, seconds: float, env: dict[str, str] | None = None
) -> tuple[str, str]:
    """Run a command in a folder: `right` on exit 0, and its standard error.

    Exit 1 is `refused` if the last line of standard error, and no other, begins with "error: ".
    """
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, timeout=seconds, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return "hang", f"not over after {seconds} s"
    said = done.stderr.strip()
    if done.returncode == 0:
        return "right", said
    is_one_line = re.findall(r"(?m)^error: ", said) == ["error: "] and "Traceback" not in said
    if done.returncode == 1 and is_one_line and said.splitlines()[-1].startswith("error: "):
        return "refused", said
    if done.returncode < 0:
        said += f"\nended by {signal.Signals(-done.returncode).name}"
    return "traceback", said
