"""A bit of an artefact flips on disk: what reads it refuses it, or gives what it gave before."""

import contextlib
import io
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.faults.outcomes import Outcomes
from tests.project import Stage, bytes_below, pipeline, run_command, run_stages, small_params

SECONDS = 120  # after which a stage hangs; the slowest takes five
# Nothing but what people read: outputs that are no stage's input.
UNREAD = ("params.yaml", "data/ok.json")  # by people, and by nobody
SHOWN = ("results/report", "results/heatmap.svg", "results/item_space.json", "results/validation")
# What is read again without being a dependency: unfinished work, and what `recg show` shows.
AGAIN = {".work/embeddings": "encode", ".work/train": "train", "cells": "show"}


@dataclass(frozen=True)
class Flip:
    """A bit of a file, and the command that then runs."""

    path: str
    bit: int
    stage: Stage

    def __str__(self) -> str:
        return f"bit {self.bit % 8} of byte {self.bit // 8} of {self.path}, then {self.command}"

    @property
    def command(self) -> str:
        """The command in one line."""
        return " ".join(self.stage.command)


def run(count: int, seed: int, folder: Path) -> Outcomes:
    """Flip `count` bits of a finished project, one at a time.

    Kinds of files are equally likely, then files of a kind, their bits, and the stages that depend
    on the file.

    Args:
        folder: empty; for the project.
    """
    params = small_params()
    stages = pipeline(params)
    run_stages(folder, params, *(stage.name for stage in stages))
    show = Stage("show", {}, ("python", "-m", "recg_core.cli.show"), ("cells",), (), ())
    whole = bytes_below(folder)
    shown = _run(show, folder)[2]
    outcomes = Outcomes()
    drawn = random.Random(seed)
    for _ in range(count):
        flip = _draw(drawn, whole, [*stages, show])
        _flip(folder / flip.path, flip.bit)
        for out in flip.stage.outs:  # as DVC does
            _remove(folder / out)
        outcomes.add(_outcome(flip, folder, whole, shown), str(flip))
        _restore(folder, whole)
    return outcomes


def _draw(drawn: random.Random, whole: dict[str, bytes], stages: list[Stage]) -> Flip:
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for path, content in whole.items():
        if content and path not in UNREAD and not path.startswith(SHOWN):
            first, second, *_ = Path(path).parts
            kinds.setdefault((first, second, Path(path).suffix), []).append(path)
    path = drawn.choice(kinds[drawn.choice(sorted(kinds))])
    readers = [stage for stage in stages if _reads(stage, path)]
    return Flip(path, drawn.randrange(8 * len(whole[path])), drawn.choice(readers))


def _reads(stage: Stage, path: str) -> bool:
    for place, name in AGAIN.items():
        if path.startswith(f"{place}/"):
            return stage.name == name and all(part in path for part in stage.item.values())
    return any(path == dep or path.startswith(f"{dep}/") for dep in stage.deps)


def _outcome(flip: Flip, folder: Path, whole: dict[str, bytes], shown: str) -> str:
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(SECONDS)
    try:
        status, stderr, stdout = _run(flip.stage, folder)
    except TimeoutError:
        return "hang"
    except Exception:
        return "traceback"
    finally:
        signal.alarm(0)
    outs = {path for path in whole if any(_within(path, out) for out in flip.stage.outs)}
    found = {path: (folder / path).read_bytes() for path in outs if (folder / path).exists()}
    if any(content != whole[path] for path, content in found.items()):
        return "silent"
    if status == 0:
        is_whole = found.keys() == outs and (flip.stage.name != "show" or stdout == shown)
        return "right" if is_whole else "silent"
    *_, last = stderr.splitlines() or [""]
    return "refused" if status == 1 and last.startswith("error: ") else "traceback"


def _run(stage: Stage, folder: Path) -> tuple[int, str, str]:
    """Status, stderr and stdout of a stage."""
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        done = run_command(stage.command, folder)
    return done.status, done.stderr, stdout.getvalue()


def _too_late(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _flip(path: Path, bit: int) -> None:
    """In place, so that hard links show the same: they are one file on disk."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def _restore(folder: Path, whole: dict[str, bytes]) -> None:
    for path in _files(folder):
        if path not in whole:
            (folder / path).unlink()
    for path, content in whole.items():
        file = folder / path
        if not file.exists() or file.read_bytes() != content:
            file.unlink(missing_ok=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _files(folder: Path) -> Iterator[str]:
    for path in list(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder))


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
