"""Ray: its start, and tasks that outlive the death of a worker."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from recg_core.base.access import reason
from recg_core.base.errors import UserError

log = logging.getLogger(__name__)

ATTEMPTS = 3  # at a task whose worker dies
_REACH_SECONDS = 10.0  # for a cluster to answer


@contextlib.contextmanager
def started_ray(needed_by: str) -> Iterator[Any]:
    """The module `ray`, connected as RAY_ADDRESS says, or to a Ray that the block ends.

    What the caller has connected before is used and left as it is.

    Args:
        needed_by: what asks for Ray, as the beginning of a sentence.

    Raises:
        UserError: when Ray is not installed, cannot be started or not be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"{needed_by} needs Ray: run `pip install -c requirements.lock -e '.[ray]'`"
        ) from error
    owned = not ray.is_initialized()
    if owned:
        _connect(ray)
    try:
        yield ray
    finally:
        if owned:
            ray.shutdown()


def _connect(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        # Ray itself would try for minutes, and log every attempt.
        if found := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address):
            socket.create_connection((found[1], int(found[2])), _REACH_SECONDS).close()
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        if address:
            raise UserError(
                f"RAY_ADDRESS: no Ray answers at {address} ({reason(error)})"
            ) from error
        raise UserError(f"Ray cannot be started on this machine: {reason(error)}") from error


def run_on_ray(
    ray: Any,
    function: Callable[..., Any],
    tasks: Mapping[str, tuple[Any, ...]],
    *,
    num_cpus: int,
    num_gpus: float,
) -> Generator[tuple[str, Any], None, None]:
    """The name and the result of each task, as they end.

    A task whose worker or machine dies is tried again; when that has happened `ATTEMPTS` times, the
    others go on without it. Tasks that have not ended when the generator is closed are stopped.

    Args:
        ray: as `started_ray` gives it.
        function: at the top of a module, which all machines have.
        tasks: by name, the arguments; references to what `ray.put` took arrive as that.
        num_cpus: cores of a task.
        num_gpus: of a task; less than 1 for several on one GPU.

    Raises:
        UserError: what `function` raises; when no machine has room for a task; and at the end,
            naming the tasks whose workers died.
    """
    _check_room(ray, num_cpus, num_gpus)
    # Ray's own retries have no end where it stops a worker for want of memory. `max_calls`: a
    # process goes on to the next task, also with a GPU, and does not load torch again.
    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=0, max_calls=0)(function)
    running = {remote.remote(*arguments): (name, 1) for name, arguments in tasks.items()}
    lost: dict[str, str] = {}
    try:
        while running:
            (ended, *_), _ = ray.wait(list(running))
            name, attempt = running.pop(ended)
            try:
                result = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                raise task_error(error) from None
            except ray.exceptions.RayError as error:
                if attempt == ATTEMPTS:
                    lost[name] = reason(error)
                else:
                    log.warning("%s: its worker died; it is tried again", name)
                    running[remote.remote(*tasks[name])] = name, attempt + 1
                continue
            yield name, result
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
    if lost:
        raise UserError(
            f"{'; '.join(lost)}: the worker died {ATTEMPTS} times, probably for lack of memory "
            f"({next(iter(lost.values()))}); let fewer run at a time on a machine with more"
        )


def task_error(error: Any) -> Exception:
    """What to raise for a RayTaskError: the user's error that the worker raised, or itself."""
    return UserError(str(error.cause)) if isinstance(error.cause, UserError) else error


def _check_room(ray: Any, num_cpus: int, num_gpus: float) -> None:
    """Refuse what Ray would wait for forever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(m.get("CPU", 0) >= num_cpus and m.get("GPU", 0) >= num_gpus for m in machines):
        raise UserError(
            f"a task needs {num_cpus} core(s) and {num_gpus:g} GPU; none of Ray's "
            f"{len(machines)} machine(s) has them"
        )
