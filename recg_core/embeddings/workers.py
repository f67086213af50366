"""Encoding lists of texts in order: in this process, or by Ray actors on many GPUs and hosts."""

from collections import Counter, deque
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
_LOOK_SECONDS = 0.5  # between two looks at what the workers have done


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
        # What dies is started again, and what a worker had in hand is computed again.
        immortal = ray.remote(max_restarts=-1, max_task_retries=-1)
        share = _share(ray.cluster_resources(), workers)
        progress = immortal(_Progress).options(num_cpus=0).remote()
        actor_class = immortal(_Worker).options(**share)
        actors: list[Any] = [actor_class.remote(encoder, progress) for _ in range(workers)]
        arrivals = _Arrivals(ray, progress, advance)
        waiting: deque[tuple[int, int, Any]] = deque()
        for index, texts in enumerate(lists):
            reference = actors[index % workers].encode.remote(index, texts)
            waiting.append((index, len(texts), reference))
            if len(waiting) == _QUEUED * workers:
                yield arrivals.take(*waiting.popleft())
        while waiting:
            yield arrivals.take(*waiting.popleft())


class _Progress:
    """How many texts of every list are done, in a process that all workers tell."""

    def __init__(self) -> None:
        self._done: Counter[int] = Counter()

    def reached(self, index: int, done: int) -> int:
        """The number of texts that are done, of which `done` at least are of list `index`.

        A list that is computed again counts again from where it was.
        """
        self._done[index] = max(self._done[index], done)
        return self._done.total()


class _Worker:
    """The encoder in a process of its own."""

    def __init__(self, encoder: Encoder, progress: Any) -> None:
        self._encoder, self._progress = encoder, progress

    def encode(self, index: int, texts: list[str]) -> np.ndarray:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._progress.reached.remote(index, done)

        return self._encoder.encode(texts, advance)


class _Arrivals:
    """Waits for lists, and shows meanwhile what is done of all."""

    def __init__(self, ray: Any, progress: Any, advance: Advance) -> None:
        self._ray, self._progress, self._advance = ray, progress, advance
        self._shown = 0

    def take(self, index: int, size: int, reference: Any) -> np.ndarray:
        """The vectors of list `index`, of `size` texts."""
        while not self._ray.wait([reference], timeout=_LOOK_SECONDS)[0]:
            self._show(index, 0)
        try:
            vectors: np.ndarray = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise task_error(error) from None
        self._show(index, size)
        return vectors

    def _show(self, index: int, done: int) -> None:
        total = self._ray.get(self._progress.reached.remote(index, done))
        self._advance(total - self._shown)
        self._shown = total


def _share(resources: dict[str, float], workers: int) -> dict[str, Any]:
    """What of the cluster each worker gets: a GPU where there are any, else a part of the cores."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    kind, found = ("GPU", gpus) if gpus else ("CPU core", cores)
    if workers > found:
        raise UserError(f"encode.workers: {workers} need one {kind} each, Ray has {found}")
    return {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": cores // workers}
