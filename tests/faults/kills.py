"""Stages killed at any point: the next run gives the same bytes, and nothing is left behind.

`python -m tests.faults.kills` runs it alone.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.outcomes import Outcomes
from tests.faults.small import SECONDS, build_project, left_behind, outs_of, params_of, run_stage
from tests.project import ROOT, SCRATCH, Stage

FULL = 200  # kills of the full count
STAGES = (
    "fetch", "preprocess", "encode", "pool", "sources", "backbones", "train", "cluster", "evaluate",
    "baselines", "slices", "report",
)  # fmt: skip
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Counts what a script does to files and, at one of these, sends itself a signal.
PROGRAM = """
import json, os, runpy, sys
number, at, count_file, *sys.argv = sys.argv[1:]
number, at, done = int(number), int(at), 0
EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"}
def count(event, arguments):
    global done
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
    if event in EVENTS or writes:
        done += 1
        if done == at:
            os.kill(os.getpid(), number)
script, sys.argv[0] = sys.argv[0], "-m"  # as Python has it until it runs the script
sys.addaudithook(count)
try:
    runpy.run_module(script, run_name="__main__", alter_sys=True)
finally:
    if not at:
        open(count_file, "w").write(str(done))
"""


@dataclass(frozen=True)
class Calm:
    """What an undisturbed run of a stage takes and gives."""

    seconds: float
    operations: int
    outs: dict[str, bytes]


def run(count: int, seed: int, folder: Path) -> Outcomes:
    """Kill stages `count` times, each in its turn."""
    project = folder / "project"
    stages = [stage for stage in build_project(project, params_of(seeds=2)) if _is_tried(stage)]
    chance, outcomes, known = random.Random(seed), Outcomes(), {}
    chance.shuffle(stages)
    for number in range(count):
        stage = stages[number % len(stages)]
        if stage.name + str(stage.item) not in known:
            known[stage.name + str(stage.item)] = _undisturbed(stage, project)
        calm = known[stage.name + str(stage.item)]
        key, said = _outcome(stage, calm, project, chance)
        outcomes.add(key, f"kill {number} of seed {seed}: {' '.join(stage.command[2:])}: {said}")
    return outcomes


def _is_tried(stage: Stage) -> bool:
    """Of stages that are the same for every domain, one is enough."""
    return stage.name in STAGES and stage.item.get("domain", "garden") == "garden"


def _undisturbed(stage: Stage, project: Path) -> Calm:
    outs = outs_of(stage, project)
    _forget(stage, project)
    count_file = project.parent / "count"
    started = time.monotonic()
    process = _start(_counting(stage, signal.SIGKILL, 0, count_file), project)
    _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, stderr
    seconds = time.monotonic() - started
    assert outs_of(stage, project) == outs, f"{stage.name} gives other bytes when it runs again"
    return Calm(seconds, int(count_file.read_text()), outs)


def _counting(stage: Stage, number: int, at: int, count_file: Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(int(number)), str(at), str(count_file),
            *stage.command[2:]]  # fmt: skip


def _start(command: list[str], project: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _outcome(stage: Stage, calm: Calm, project: Path, chance: random.Random) -> tuple[str, str]:
    how = _prepare(stage, project, chance)
    number, to_all = chance.choice(SIGNALS), chance.random() < 0.5
    if chance.random() < 0.5:
        at = chance.randint(1, calm.operations)
        how += f", {number.name} at file operation {at}"
        process = _start(_counting(stage, number, at, project.parent / "count"), project)
    else:
        delay = chance.uniform(0, 1.05 * calm.seconds)
        how += f", {number.name} after {delay:.3f} s to {'all' if to_all else 'the first'}"
        process = _start([sys.executable, *stage.command[1:]], project)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            # As a terminal sends it to every process, and `kill` to one.
            (os.killpg if to_all else os.kill)(process.pid, number)
    try:
        _, stderr = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "hang", how
    if alive := _alive(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
        return "hang", f"{how}: processes live on: {alive}"
    found = outs_of(stage, project)
    done = run_stage(stage.command, project)  # first, so that the next case begins well
    # A process that was just being started may say that a killed parent sends it nothing, and
    # Python itself that it could not begin.
    ours = "Fatal Python error: init" not in stderr
    if number == signal.SIGINT and ours and ("Traceback" in stderr or "leaked" in stderr):
        return "traceback", f"{how}: {stderr[-800:]}"
    if half := [name for name, content in found.items() if calm.outs.get(name) != content]:
        return "silent", f"{how}: half-written {half}"
    if done is None:
        return "hang", f"{how}: the next run"
    if done.status:
        return "traceback", f"{how}: the next run: {done.stderr[-800:]}"
    if outs_of(stage, project) != calm.outs:
        return "silent", f"{how}: the next run gives other bytes"
    if left := left_behind(project):
        return "silent", f"{how}: left {left}"
    return "right", ""


def _prepare(stage: Stage, project: Path, chance: random.Random) -> str:
    """What there is before the run: all of an earlier one, what DVC leaves of it, or nothing."""
    how = chance.choice(("outputs kept", "outputs deleted", "nothing kept"))
    if how == "outputs deleted":
        _delete_outs(stage, project)
    elif how == "nothing kept":
        _forget(stage, project)
    return how


def _delete_outs(stage: Stage, project: Path) -> None:
    for out in stage.outs:
        path = project / out
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _forget(stage: Stage, project: Path) -> None:
    _delete_outs(stage, project)
    for place in SCRATCH:
        shutil.rmtree(project / place, ignore_errors=True)


def _alive(session: int) -> list[str]:
    """The processes of a session that have not ended within some seconds of its first one's end."""
    end = time.monotonic() + 10
    while (found := _in_session(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _in_session(session: int) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except (OSError, IndexError):
            continue  # has ended meanwhile
    return found


if __name__ == "__main__":
    counted = int(sys.argv[1]) if len(sys.argv) > 1 else FULL
    with tempfile.TemporaryDirectory() as name:
        print(dict(run(counted, int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path(name))))
