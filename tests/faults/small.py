"""A small project with every artefact, and its stages run in processes that faults can reach."""

import ctypes
import os
import resource
import select
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stages import run
from tests.project import Done, Stage, bytes_below, pipeline, small_params, write_params

VARIANTS = ("id", "sem", "recg", "anchored")
SECONDS = 120  # in which every stage of the small project ends
LEFT = (".*.tmp", ".*.lock")  # what an undisturbed run never leaves


@dataclass(frozen=True)
class Machine:
    """What is wrong with the machine that a stage runs on."""

    file_bytes: int | None = None  # no file grows above it, as if the disk were full
    unprivileged: bool = False  # permission bits bind root, too


def params_of(variants: tuple[str, ...] = VARIANTS, seeds: int = 1) -> dict[str, Any]:
    """Small params with several kinds of variants."""
    params = small_params()
    params["grid"]["variants"] = list(variants)
    params["seeds"] = list(range(seeds))
    params["figures"] |= {"items": 40, "users": 100, "perplexity": 5.0}
    params["report"]["num_resamples"] = 100
    return params


def build_project(folder: Path, params: dict[str, Any]) -> list[Stage]:
    """Run the whole pipeline in `folder`; its stages."""
    folder.mkdir(parents=True)
    write_params(folder, params)
    stages = pipeline(params)
    for stage in stages:
        done = run_stage(stage.command, folder)
        assert done is not None, f"{stage.name} hangs"
        assert done.status == 0, done.stderr
    return stages


def outs_of(stage: Stage, folder: Path) -> dict[str, bytes]:
    """Every file that a stage writes; hidden ones are none of its results."""
    found: dict[str, bytes] = {}
    for out in stage.outs:
        path = folder / out
        if path.is_file():
            found[out] = path.read_bytes()
        elif path.is_dir():
            found |= {f"{out}/{name}": content for name, content in bytes_below(path).items()}
    return {
        name: content
        for name, content in found.items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }


def left_behind(folder: Path) -> list[str]:
    """Temporary files and locks below `folder`."""
    return sorted(str(path.relative_to(folder)) for form in LEFT for path in folder.rglob(form))


def run_stage(
    command: tuple[str, ...], folder: Path, machine: Machine | None = None
) -> Done | None:
    """Run `python -m stages.X ...` in a process forked from one that has done the imports.

    Returns:
        None when it did not end in time.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.imports"])
    reader, writer = context.Pipe(duplex=False)
    arguments = (command[2:], folder, writer, machine or Machine())
    process = context.Process(target=_stage, args=arguments)
    process.start()
    writer.close()
    stderr, end = b"", time.monotonic() + SECONDS
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (data := os.read(reader.fileno(), 1 << 16)):
            process.join()
            assert process.exitcode is not None
            return Done(process.exitcode, stderr.decode(errors="replace"))
        stderr += data
    process.kill()
    process.join()
    return None


def _stage(command: tuple[str, ...], folder: Path, said: Connection, machine: Machine) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    for number in (1, 2):
        os.dup2(said.fileno(), number)
    said.close()
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    sys.argv = list(command)
    main = import_module(command[0]).main
    if machine.unprivileged:
        _drop_capabilities()
    if machine.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (machine.file_bytes, machine.file_bytes))
    run(main)


def _drop_capabilities() -> None:
    """Make root subject to permission bits, as everyone else is (Linux)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError("capabilities cannot be dropped")
