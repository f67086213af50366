"""Work in several processes: results in order, errors as they are, no process that stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recg_core.base.errors import UserError
from recg_core.training.processes import run_in_processes
from tests.project import ROOT

NOTHING: list[str] = []  # to import beforehand


def doubled(number: int) -> int:
    """Later ones end first."""
    time.sleep(0.05 * (3 - number))
    return 2 * number


def refuses(number: int) -> int:
    raise UserError(f"task {number} of no use")


def is_refused(name: str) -> bytes:
    return Path(name).read_bytes()


def dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def is_wrong(number: int) -> int:
    return 1 // number


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert run_in_processes(doubled, [0, 1, 2, 3], 3, NOTHING) == [0, 2, 4, 6]


def test_what_a_task_raises_for_users_is_raised() -> None:
    with pytest.raises(UserError, match="task 1 of no use"):
        run_in_processes(refuses, [1, 1], 2, NOTHING)
    with pytest.raises(UserError, match=r"^nowhere: No such file or directory$"):
        run_in_processes(is_refused, ["nowhere", "nowhere"], 2, NOTHING)


def test_a_process_that_is_killed_is_a_message() -> None:
    with pytest.raises(UserError, match="was killed, probably for lack of memory"):
        run_in_processes(dies, [1, 2], 2, NOTHING)


def test_a_defect_is_no_message_for_users() -> None:
    with pytest.raises(RuntimeError, match="its traceback stands above"):
        run_in_processes(is_wrong, [0, 0], 2, NOTHING)


PROGRAM = """
import sys, time
from recg_core.training.processes import run_in_processes
run_in_processes(time.sleep, [600, 600], 2, [])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_asked_for_it(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while sum("spawn_main" in line or "forkserver" in line for line in commands(process.pid)) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert "leaked" not in stderr
    end = time.monotonic() + 30
    while commands(process.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert commands(process.pid) == []


def commands(session: int) -> list[str]:
    """The command lines of the living processes of a session."""
    found = subprocess.run(
        ["ps", "-o", "stat=,args=", "-s", str(session)], capture_output=True, text=True
    )
    return [line for line in found.stdout.splitlines() if not line.startswith("Z")]
