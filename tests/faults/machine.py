"""Every stage on a machine that refuses: unreadable inputs, read-only and full disks, other kinds.

`python -m tests.faults.machine` runs it alone.
"""

import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.outcomes import Outcomes
from tests.faults.small import Machine, build_project, left_behind, outs_of, params_of, run_stage
from tests.project import Done, Stage

NOTHING_WRONG = Machine()
FULL = 300  # more than every stage x every fault
BYTES = (0, 1, 300, 3000)  # that a file may have on the full disks


@dataclass(frozen=True)
class Case:
    """A fault for one stage."""

    stage: Stage
    name: str
    spoil: Callable[[Path], object]  # of the project's folder
    named: tuple[str, ...]  # one of these must stand in the message
    machine: Machine = NOTHING_WRONG


def run(count: int | None, seed: int, folder: Path) -> Outcomes:
    """Run `count` cases, chosen by `seed` when there are more; None: all."""
    project = folder / "whole"
    stages = build_project(project, params_of(("recg",)))
    first = {stage.name: stage for stage in reversed(stages)}
    cases = [case for stage in first.values() for case in _cases(stage, project)]
    if count is not None and count < len(cases):
        cases = random.Random(seed).sample(cases, count)
    outcomes = Outcomes()
    for case in cases:
        copy = folder / "copy"
        shutil.copytree(project, copy)
        key, said = _outcome(case, project, copy)
        outcomes.add(key, f"{case.stage.name}: {case.name}: {said}")
        shutil.rmtree(copy)
    return outcomes


def _cases(stage: Stage, project: Path) -> Iterator[Case]:
    inputs = [Path("params.yaml"), *_one_of_each_kind(stage, project)]
    for path in inputs:
        # A file that marks its folder is looked for, and the folder is said to hold none.
        named = (
            tuple(map(str, (path, *list(path.parents)[:2])))
            if len(path.parts) > 3
            else (str(path),)
        )
        for name, spoil, machine in (
            ("unreadable", lambda p: p.chmod(0), Machine(unprivileged=True)),
            ("a folder", _replace_by_folder, Machine()),
            ("a circle of links", _replace_by_circle, Machine()),
        ):
            yield Case(stage, f"{path} is {name}", _on(path, spoil), named, machine)
    for dep in stage.deps:
        if (project / dep).is_dir() and not dep.startswith(("recg_core", "stages")):
            yield Case(stage, f"{dep} is a file", _on(Path(dep), _replace_by_file), (dep,))
    for out in stage.outs:
        path = Path(out)
        named = (out, str(path.parent))
        yield Case(
            stage, f"the folder of {out} is read-only", _on(path.parent, lambda p: p.chmod(0o555)),
            named, Machine(unprivileged=True),
        )  # fmt: skip
        yield Case(stage, f"a file is at {out}/..", _on(path.parent, _replace_by_file), named)
        other = _replace_by_folder if (project / out).is_file() else _replace_by_file
        yield Case(stage, f"{out} is of another kind", _on(path, other), named)
    for limit in BYTES:
        yield Case(
            stage, f"no room for more than {limit} bytes", lambda p: None,
            (*stage.outs, ".work", ".downloads", *(f".{Path(out).name}.tmp" for out in stage.outs)),
            Machine(file_bytes=limit),
        )  # fmt: skip


def _one_of_each_kind(stage: Stage, project: Path) -> list[Path]:
    found: dict[str, Path] = {}
    for dep in stage.deps:
        place = project / dep
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file():
                kind = re.sub(r"\w+_to_\w+", "cell", path.name)  # a cell is read as another
                found.setdefault(kind, path.relative_to(project))
    return list(found.values())


def _on(path: Path, spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: spoil(folder / path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace_by_folder(path: Path) -> None:
    _remove(path)
    (path / "inner").mkdir(parents=True)


def _replace_by_file(path: Path) -> None:
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("something else\n")


def _replace_by_circle(path: Path) -> None:
    _remove(path)
    path.symlink_to(path.name)


def _outcome(case: Case, project: Path, copy: Path) -> tuple[str, str]:
    for out in case.stage.outs:
        _remove(copy / out)
        (copy / out).parent.mkdir(parents=True, exist_ok=True)
    for place in (".work", ".downloads"):
        shutil.rmtree(copy / place, ignore_errors=True)
    case.spoil(copy)
    spoilt = outs_of(case.stage, copy)
    done = run_stage(case.stage.command, copy, case.machine)
    if done is None:
        return "hang", ""
    found, whole = outs_of(case.stage, copy), outs_of(case.stage, project)
    if "Traceback" in done.stderr or "panicked" in done.stderr:
        return "traceback", done.stderr[-600:]
    if done.status == 0:
        return ("right", "") if found == whole else ("silent", "other results")
    if problem := _not_refused_well(case, done):
        return "traceback", problem
    if half := [name for name in found if found[name] not in (whole.get(name), spoilt.get(name))]:
        return "silent", f"half-written {half}"
    if left := left_behind(copy):
        return "silent", f"left {left}"
    return "refused", done.stderr


def _not_refused_well(case: Case, done: Done) -> str:
    # The command line itself refuses a file that it may not read, in a box and with status 2.
    said = " ".join(done.stderr.replace("│", " ").split())  # whose lines end anywhere
    if done.status == 2 and "is not readable" in said:
        return "" if any(name in said for name in case.named) else "blames another"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.status != 1 or len(errors) != 1:
        return f"status {done.status}, {done.stderr[-600:]}"
    if not any(name in errors[0] for name in case.named):
        return f"blames another: {errors[0]}"
    return ""


if __name__ == "__main__":
    counted = int(sys.argv[1]) if len(sys.argv) > 1 else FULL
    with tempfile.TemporaryDirectory() as name:
        print(dict(run(counted, int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path(name))))
