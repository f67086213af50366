"""The fault suite's own judgement; `make faults` runs it."""

import os
import time

from tests.faults.outcomes import Watched


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
