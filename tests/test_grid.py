"""Training by tasks of Ray: the bytes of a serial run, through the death of workers."""

import dataclasses
import itertools
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import ray

from recg_core.base.errors import UserError
from recg_core.base.ray_tasks import run_on_ray, started_ray
from recg_core.cli import grid as command
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains
from recg_core.training import grid
from recg_core.training.grid import train_grid, train_run
from recg_core.training.plan import Plan, Run, plan_runs
from recg_core.training.train import train_models
from recg_core.training.trainer import Trainer
from tests.conftest import alone
from tests.project import (
    bytes_below,
    pipeline,
    run_command,
    run_stages,
    small_params,
    stage_of,
)
from tests.test_training import RECG, SEM, SHORT, pool_of, spec


def dies_once(
    source: SourceDomains, pool: Mapping[str, np.ndarray], run: Run, digest: str
) -> bytes:
    """As `train_run` on another disk; the first worker that has trained the second seed dies."""
    state, died = train_run(source, pool, run, digest), run.state.with_suffix(".died")
    run.state.unlink()
    if run.seed == 1 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return state


def doubled_unless_odd(number: int) -> int:
    """Odd numbers kill the worker."""
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuses_or_waits(number: int) -> int:
    if number == 0:
        raise UserError("no use")
    time.sleep(600)
    return number


@pytest.fixture
def no_epoch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Training in this process alone, and not an epoch of it; undone by `undo`."""

    def refused(*_: object) -> None:
        raise AssertionError("what has been trained is trained again")

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(Trainer, "_advance", refused)
    return monkeypatch


def plans(cycle: Domain, work: Path, seeds: tuple[int, ...] = (0, 1)) -> list[Plan]:
    """Two variants of a model on one source, one of which samples the pool."""
    return [
        plan_runs(
            alone(cycle), pool_of("x", "y"), [spec("gru4rec", cycle, variant)], SHORT, seeds,
            work=work / name, address=f"variants.{name}", device="cpu",
        )
        for name, variant in (("sem", SEM), ("recg", RECG))
    ]  # fmt: skip


def train_all(of: list[Plan], folder: Path) -> dict[str, bytes]:
    """What the train stage writes of all plans."""
    for number, plan in enumerate(of):
        train_models(plan, folder / str(number))
    return bytes_below(folder)


@pytest.mark.parametrize("train", [train_run, dies_once])
def test_a_grid_gives_the_bytes_of_a_serial_run(
    cluster: None, cycle: Domain, tmp_path: Path, no_epoch: pytest.MonkeyPatch, train: object
) -> None:
    of_grid = plans(cycle, tmp_path / "work")
    with no_epoch.context() as changed:
        changed.setattr(grid, "train_run", train)
        assert train_grid(of_grid) == 4
    assert len(list(tmp_path.rglob("*.died"))) == (0 if train is train_run else 2)
    gathered = train_all(of_grid, tmp_path / "gathered")
    assert train_grid(of_grid) == 0
    no_epoch.undo()
    assert gathered == train_all(plans(cycle, tmp_path / "other"), tmp_path / "serial")


def test_what_has_ended_is_not_trained_again(cluster: None, cycle: Domain, tmp_path: Path) -> None:
    first, both = (plans(cycle, tmp_path, seeds) for seeds in ((0,), (0, 1)))
    assert train_grid(first[:1]) == 1
    assert train_grid(both[:1]) == 1
    changed = dataclasses.replace(SHORT, learning_rate=0.02)
    runs = [dataclasses.replace(run, config=changed) for run in both[0].runs]
    assert train_grid([dataclasses.replace(both[0], runs=runs)]) == 2


def test_a_run_that_cannot_be_kept_is_named_and_the_next_grid_goes_on(
    cluster: None, cycle: Domain, tmp_path: Path
) -> None:
    (tmp_path / "sem").write_text("in the way")
    of_grid = plans(cycle, tmp_path, (0,))
    with pytest.raises(UserError) as caught:
        train_grid(of_grid)
    assert str(caught.value).startswith("gru4rec of variants.sem on cycle, seed 0, on ")
    assert "could not be written" in str(caught.value)
    (tmp_path / "sem").unlink()
    train_grid(of_grid)
    assert train_grid(of_grid) == 0


def test_a_task_whose_workers_all_die_is_named_and_the_others_are_done(cluster: None) -> None:
    tasks = {f"task {number}": (number,) for number in (1, 2, 4)}
    ended = run_on_ray(ray, doubled_unless_odd, tasks, num_cpus=1, num_gpus=0)
    assert dict(itertools.islice(ended, 2)) == {"task 2": 4, "task 4": 8}
    with pytest.raises(UserError, match=r"^task 1: the worker died 3 times, .*memory"):
        next(ended)


def test_what_a_task_raises_for_users_stops_the_others(cluster: None) -> None:
    tasks = {str(number): (number,) for number in range(2)}  # a core each
    with pytest.raises(UserError, match=r"^no use$"):
        list(run_on_ray(ray, refuses_or_waits, tasks, num_cpus=1, num_gpus=0))
    # They have left their cores.
    assert dict(run_on_ray(ray, doubled_unless_odd, {"a": (2,)}, num_cpus=2, num_gpus=0)) == {
        "a": 4
    }


@pytest.mark.parametrize(("cpus", "gpus", "said"), [(3, 0, "3 core.s. and 0 GPU"), (1, 0.5, "0.5")])
def test_what_no_machine_has_is_not_waited_for(
    cluster: None, cpus: int, gpus: float, said: str
) -> None:
    with pytest.raises(UserError, match=rf"{said}.*none of Ray's 1 machine"):
        list(run_on_ray(ray, doubled_unless_odd, {"a": (2,)}, num_cpus=cpus, num_gpus=gpus))


def test_a_machine_with_other_code_refuses_to_train(cycle: Domain, tmp_path: Path) -> None:
    plan = plans(cycle, tmp_path)[0]
    with pytest.raises(UserError, match=rf", on {socket.gethostname()}: recg_core differs from"):
        train_run(plan.source, plan.pool, plan.runs[0], "another digest")
    assert not list(tmp_path.iterdir())


def test_a_ray_that_cannot_be_had_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise RuntimeError("no room\nand more")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(UserError, match=r"^Ray cannot be started on this machine: no room$"),
        started_ray("the grid"),
    ):
        pass
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(UserError, match=rf"RAY_ADDRESS: no Ray answers at {address} .Conn"),
            started_ray("the grid"),
        ):
            pass


def test_the_command_trains_what_the_train_stage_then_finds(
    cluster: None, tmp_path: Path, no_epoch: pytest.MonkeyPatch
) -> None:
    params = small_params()
    params["grid"]["variants"] = ["sem", "recg"]
    before = ("fetch", "preprocess", "encode", *command.INPUTS)
    run_stages(tmp_path, params, *before)
    commands = [" ".join(s.command) for s in pipeline(params) if s.name == "train"]
    no_epoch.setattr(command, "train_commands", lambda: commands)
    no_epoch.chdir(tmp_path)
    command.grid()
    for text in commands:
        done = run_command(text.split(), tmp_path)
        assert done.status == 0, done.stderr


def test_the_stages_that_the_command_asks_for_make_all_that_training_reads() -> None:
    """Of the data: what else training depends on is code."""
    params = small_params()
    made = {out for name in command.INPUTS for out in stage_of(params, name).outs}
    deps = {dep for dep in stage_of(params, "train").deps if dep.startswith("data/")}
    assert not {dep for dep in deps if not any(dep.startswith(out) for out in made)}
