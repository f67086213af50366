"""Recorded training steps, with a GPU's recordings played by the CPU."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from recg_core.training.batch import shaped, to_send
from recg_core.training.recorded import RecordedSteps

CPU = torch.device("cpu")


class Graph:
    """As `torch.cuda.CUDAGraph`: work that comes in between is kept, not done."""

    recording: ClassVar["Graph | None"] = None
    ended: ClassVar[list["Graph"]] = []

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []

    def capture_begin(self, pool: object = None) -> None:
        Graph.recording = self

    def capture_end(self) -> None:
        Graph.recording = None
        Graph.ended.append(self)

    def replay(self) -> None:
        for work in self.work:
            work()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def within(_: object) -> Iterator[None]:
        yield

    stream = SimpleNamespace(wait_stream=lambda _: None)
    Graph.recording, Graph.ended = None, []
    for name, value in {
        "CUDAGraph": Graph,
        "Stream": lambda _: stream,
        "current_stream": lambda _: stream,
        "stream": within,
        "graph_pool_handle": lambda: None,
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", value)


class Step:
    """Adds the sum of a batch's tensors to a parameter and returns both."""

    def __init__(self, *, waits: bool = False) -> None:
        self.parameter = torch.zeros((), dtype=torch.int64)
        self.calls = 0
        self.waits = waits

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        self.calls += 1
        losses = torch.full((2,), -1)

        def work() -> None:
            total = sum(tensor.sum() for tensor in tensors)
            self.parameter += total
            losses.copy_(torch.stack([torch.as_tensor(total), self.parameter]))

        if Graph.recording is None:
            work()
        elif self.waits:
            raise RuntimeError("operation not permitted when stream is capturing")
        else:
            Graph.recording.work.append(work)
        return losses


def batches() -> list[list[Tensor]]:
    """Of two shapes, in turns."""
    generator = torch.Generator().manual_seed(0)
    return [
        [torch.randint(9, shape, generator=generator) for shape in ((2, 3 + number % 2), (0,))]
        for number in range(10)
    ]


def expected() -> list[list[int]]:
    sums = [sum(int(tensor.sum()) for tensor in batch) for batch in batches()]
    return [[each, sum(sums[: number + 1])] for number, each in enumerate(sums)]


def test_every_step_is_about_its_own_batch_and_happens_once(gpu: None) -> None:
    step = Step()
    run = RecordedSteps(step, CPU)
    found = [run(batch) for batch in batches()]  # what a step returns stays as it is
    assert [losses.tolist() for losses in found] == expected()
    assert step.calls == 4  # of each shape the first step as it is, and a recording
    assert len(Graph.ended) == 2


def test_steps_that_cannot_be_recorded_run_as_they_are(gpu: None) -> None:
    step = Step(waits=True)
    run = RecordedSteps(step, CPU)
    assert [run(batch).tolist() for batch in batches()] == expected()
    assert step.calls == 11  # one try
    failed, ending = Graph.ended
    assert not failed.work
    assert not ending.work  # a recording of nothing, which ends the failed one's random numbers


def test_tensors_sent_together_come_apart_as_they_were() -> None:
    tensors = [torch.arange(6).view(2, 3), torch.arange(0), torch.tensor([7])]
    found = shaped(to_send(tensors, CPU), [tensor.shape for tensor in tensors])
    assert all(torch.equal(a, b) for a, b in zip(found, tensors, strict=True))
