"""Tasks in processes of their own, none of which outlives the process that asked for them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from recg_core.base.access import machine_error
from recg_core.base.errors import UserError

T = TypeVar("T")
U = TypeVar("U")


def run_in_processes(
    function: Callable[[T], U], tasks: Sequence[T], workers: int, preload: Sequence[str]
) -> list[U]:
    """The results of all tasks in their order, `workers` of them at a time.

    Pipes alone, no queue or executor: those need named semaphores, which a killed process leaves.

    Args:
        function: at the top of a module, as its arguments must be able to travel.
        preload: modules that are imported once and not by every process.

    Raises:
        UserError: what `function` raises, and when a process was killed.
        RuntimeError: when a task failed otherwise; its traceback stands on stderr.
    """
    # Forked from a process that has done the imports and nothing else, which is safe.
    context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(list(preload))
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Any, tuple[int, BaseProcess]] = {}
    results: dict[int, U] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, task = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(sender, function, task), daemon=True)
                running[receiver] = index, process
                with _without_interruption():
                    process.start()
                sender.close()
            for receiver in wait(list(running)):
                index, process = running[receiver]
                results[index] = _received(receiver, process)
                del running[receiver]
    finally:
        for _, process in running.values():
            if process.pid is not None:
                process.kill()
                process.join()
    return [results[index] for index in range(len(tasks))]


def _received(receiver: Any, process: BaseProcess) -> Any:
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        if process.exitcode == 1:
            raise RuntimeError("a task failed; its traceback stands above") from None
        raise UserError(
            "a training process was killed, probably for lack of memory; set train.threads to "
            "the number of cores, so that one model is trained at a time"
        ) from None
    process.join()
    if isinstance(result, UserError):
        raise result
    return result


def _run(sender: Connection, function: Callable[[Any], Any], task: Any) -> None:
    """In the new process: the task, its result or the user's error sent, the parent watched."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: Any
    try:
        result = function(task)
    except UserError as error:
        result = error
    except (OSError, MemoryError) as error:
        result = machine_error(error)
    sender.send(result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _without_interruption() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: a terminal sends it to all, the parent acts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which, when it is started, lets SIGINT in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
