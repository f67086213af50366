"""Training steps on a GPU, recorded once for each shape of their tensors.

A step of a small model is some two hundred small kernels, which a GPU finishes sooner than Python
starts them. A recording (CUDA graph) starts them all with one call.
"""

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Size, Tensor

from recg_core.training.batch import shaped, to_send

log = logging.getLogger(__name__)

Step = Callable[[Sequence[Tensor]], Tensor]


class Recording(NamedTuple):
    """A step that runs whenever `graph` is replayed."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensor  # all that the step reads of a batch, flat
    losses: Tensor  # what it returns; overwritten by every replay


class RecordedSteps:
    """Runs the steps of one domain: the first of a shape as it is, those after from a recording.

    Some steps can't be recorded: one that makes the host wait for the GPU, such as that of a loss
    that asks for a value, or one with dropout inside cuDNN, as GRUs of several layers have it. Then
    all run as they are.

    Args:
        step: one update from a batch's tensors, on the GPU; its shapes depend on theirs alone.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._stream = torch.cuda.Stream(device)  # the default one can't be recorded
        self._pool = torch.cuda.graph_pool_handle()  # of memory, for all recordings
        self._recordings: dict[tuple[Size, ...], Recording | None] = {}  # None: met once
        self._recordable = True

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The losses of a step.

        Args:
            tensors: int64, on the CPU.
        """
        before = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            losses = self._run(to_send(tensors, self._device), [each.shape for each in tensors])
        before.wait_stream(self._stream)
        return losses

    def _run(self, sent: Tensor, shapes: Sequence[Size]) -> Tensor:
        recording = self._recording(tuple(shapes)) if self._recordable else None
        if recording is None:
            return self._step(shaped(sent.to(self._device, non_blocking=True), shapes))
        recording.inputs.copy_(sent, non_blocking=True)
        recording.graph.replay()
        return recording.losses.clone()

    def _recording(self, shapes: tuple[Size, ...]) -> Recording | None:
        """That of shapes that were met before; None of others, or where none can be made."""
        if shapes not in self._recordings:
            self._recordings[shapes] = None
        elif self._recordings[shapes] is None:
            try:
                self._recordings[shapes] = self._record(shapes)
            except RuntimeError as error:
                self._recordable = False
                _end_recording()
                reason = str(error).partition("\n")[0]
                log.info("training steps are not recorded, which makes them slower: %s", reason)
        return self._recordings[shapes]

    def _record(self, shapes: tuple[Size, ...]) -> Recording:
        size = sum(shape.numel() for shape in shapes)
        inputs = torch.empty(size, dtype=torch.int64, device=self._device)
        graph = torch.cuda.CUDAGraph()
        with _no_collection():
            graph.capture_begin(self._pool)
            try:
                losses = self._step(shaped(inputs, shapes))
            finally:
                graph.capture_end()
        return Recording(graph, inputs, losses)


def _end_recording() -> None:
    """Make random numbers come as usual after a recording that failed, which leaves them its own:
    they end with the next one, here of nothing."""
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA Graph is empty")
        graph.capture_begin()
        graph.capture_end()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without garbage collection: freeing what is of the GPU would spoil a recording."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def rounded(size: int) -> int:
    """The next of few sizes, four to every doubling: less than a quarter above."""
    unit = 1 << max(0, (size - 1).bit_length() - 3)
    return -(-size // unit) * unit
