"""A few faults of every kind; `make faults` has them all."""

import os
import time
from pathlib import Path

import pytest

from tests.faults.__main__ import KINDS, Run
from tests.faults.outcomes import Watched

FEW = 10


@pytest.mark.parametrize(("name", "run"), [(name, run) for name, run, _ in KINDS])
def test_what_is_damaged_is_right_or_refused(name: str, run: Run, tmp_path: Path) -> None:
    found = run(1 if name == "large" else FEW, 1, tmp_path)
    assert found.total() > 0
    assert found.defects == 0, found.examples


def _dies(how: str) -> tuple[str, str]:
    if how == "killed":
        os._exit(3)
    if how == "hangs":
        time.sleep(60)
    return ("right", "") if how == "works" else ("silent", f"{1 // 0}")


def test_deaths_and_hangs_are_seen_and_the_next_call_is_judged() -> None:
    with Watched(2.0) as watched:
        found = [watched.call(_dies, how)[0] for how in ("killed", "hangs", "raises", "works")]
    assert found == ["traceback", "hang", "traceback", "right"]
