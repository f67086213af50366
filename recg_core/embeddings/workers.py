"""Encoding lists of texts in order: in this process, or by Ray actors on many GPUs and hosts."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.ray_tasks import started_ray, task_error
from recg_core.encoders.base import Advance, Encoder, TokenEncoder

T = TypeVar("T")
U = TypeVar("U")

_QUEUED = 2  # lists of texts a worker: the next one waits beside it while it computes


def encode_lists(
    encoder: Encoder, lists: Iterable[list[str]], workers: int, advance: Advance
) -> Generator[np.ndarray, None, None]:
    """The vectors of every list of texts, in the order of the lists.

    A list is encoded as a whole by one worker, so that the number of workers changes no vector.

    Args:
        encoder: with more than one worker, it is copied to them before it has loaded its model.
        lists: rendered texts; taken from as the work goes on.
        workers: 1 for this process, else the number of Ray actors.
        advance: called with numbers of texts that are done.

    Raises:
        UserError: what `encoder` raises; with several workers also when Ray is not installed or
            has too few GPUs or cores.
    """
    if workers > 1:
        yield from _encode_on_ray(encoder, lists, workers, advance)
    elif isinstance(encoder, TokenEncoder):
        for tokens in one_ahead(encoder.tokenize, lists):
            yield encoder.embed(tokens, advance)
    else:
        for texts in lists:
            yield encoder.encode(texts, advance)


def one_ahead(function: Callable[[T], U], values: Iterable[T]) -> Iterator[U]:
    """`map` whose next result is computed in a thread while the caller uses the last one.

    A value is taken before the result ahead of it is waited for, and begun after that has come.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: Future[U] | None = None
        for value in values:
            if waiting is None:
                waiting = thread.submit(function, value)
                continue
            ready = waiting.result()
            waiting = thread.submit(function, value)
            yield ready
        if waiting is not None:
            yield waiting.result()


def _encode_on_ray(
    encoder: Encoder, lists: Iterable[list[str]], workers: int, advance: Advance
) -> Iterator[np.ndarray]:
    with started_ray("encode.workers is more than 1 and") as ray:
        # A worker that dies is started again, and what it had in hand is computed again.
        actor_class = ray.remote(max_restarts=-1, max_task_retries=-1)(_Worker).options(
            **_share(ray.cluster_resources(), workers)
        )
        actors: list[Any] = [actor_class.remote(encoder) for _ in range(workers)]
        waiting: deque[tuple[int, Any]] = deque()
        for index, texts in enumerate(lists):
            waiting.append((len(texts), actors[index % workers].encode.remote(texts)))
            if len(waiting) == _QUEUED * workers:
                yield _arrived(ray, *waiting.popleft(), advance)
        while waiting:
            yield _arrived(ray, *waiting.popleft(), advance)


class _Worker:
    """The encoder in a process of its own."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode(self, texts: list[str]) -> np.ndarray:
        return self._encoder.encode(texts)


def _share(resources: dict[str, float], workers: int) -> dict[str, Any]:
    """What of the cluster each worker gets: a GPU where there are any, else a part of the cores."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    kind, found = ("GPU", gpus) if gpus else ("CPU core", cores)
    if workers > found:
        raise UserError(f"encode.workers: {workers} need one {kind} each, Ray has {found}")
    return {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": cores // workers}


def _arrived(ray: Any, size: int, reference: Any, advance: Advance) -> np.ndarray:
    try:
        vectors: np.ndarray = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise task_error(error) from None
    advance(size)
    return vectors
