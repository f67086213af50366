"""Training and ranking at the paper's sizes on one GPU, alone and several models at once.

    python -m benchmarks.gpu

Random texts and sequences: 24,315 items x 4,096, d 256. Steps start kernel by kernel, as on a CPU,
or from recordings, as training does on a GPU once it has met most shapes: users per second are of
the second and of the fifth epoch. `kernels` are those of a recorded step, `busy` is the share of
the time in which one of them ran, `waits` how often a step made the host wait for the GPU.
`together` trains the same model in several processes on the one card.
"""

import argparse
import os
import platform
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import (
    TEXT_DIM,
    VARIANTS,
    epoch_turn,
    make_trainer,
    print_table,
    random_domain,
    ranking_turn,
)
from recg_core.domains.domain import Domain
from recg_core.training.batch import on_device
from recg_core.training.config import TrainConfig
from recg_core.training.processes import run_in_processes
from recg_core.training.recorded import Step
from recg_core.training.trainer import Trainer

SIZES: dict[str, Any] = {"dim": 256, "dropout": 0.5, "max_length": 50}
BACKBONES: dict[str, dict[str, Any]] = {
    "sasrec": SIZES | {"num_layers": 2, "num_heads": 2},
    "bert4rec": SIZES | {"num_layers": 2, "num_heads": 2, "mask_probability": 0.2},
    "gru4rec": SIZES | {"num_layers": 1},
}
PROFILED_STEPS = 20
WARM_EPOCHS = 4  # after which most batches have a recording
HEADS = (
    "model", "batch", "by kernel", "users/s", "ratio", "kernels", "busy", "waits", "peak GiB"
)  # fmt: skip
Pool = dict[str, np.ndarray]
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def random_source(users: int) -> tuple[Domain, Pool]:
    """A domain of the paper's sizes, and the texts of two others."""
    rng = np.random.default_rng(0)
    domain, _ = random_domain(users, rng)
    pool = {f"other {i}": rng.standard_normal((2048, TEXT_DIM), np.float32) for i in range(2)}
    return domain, pool


def trainer_of(data: tuple[Domain, Pool], backbone: str, variant: str, batch_size: int) -> Trainer:
    """The product's training of one model on the card."""
    config = TrainConfig(
        batch_size=batch_size, learning_rate=1e-4, max_epochs=1, patience=1, negatives=128,
        domain_sample=32, valid_users=1, threads=1,
    )  # fmt: skip
    args = BACKBONES[backbone]
    return make_trainer(variant, *data, config, args, backbone=backbone, device="cuda")


def speed_of(trainer: Trainer, warm_epochs: int) -> float:
    """Users per second of the epoch after those."""
    turn = epoch_turn(trainer)
    for _ in range(warm_epochs):
        turn()
    return turn()


def unrecorded(trainer: Trainer) -> Trainer:
    """The same training, kernel by kernel."""
    steps = [partial(trainer._step, part) for part in trainer.parts]
    trainer.steps = [partial(_sent, step, trainer.device) for step in steps]
    return trainer


def _sent(step: Step, device: torch.device, tensors: Sequence[Tensor]) -> Tensor:
    return step(on_device(tensors, device))


def profiled(trainer: Trainer) -> tuple[float, float, float]:
    """Kernels a step, the share of the time that they run, and waits of the host a step."""
    generator = torch.Generator().manual_seed(0)
    batches = list(islice(trainer._batches(3, np.random.default_rng(0)), PROFILED_STEPS))
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        started = time.perf_counter()
        for number, rows in batches:
            trainer.steps[number](trainer._draw(trainer.parts[number], rows, generator))
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    events = found.events()
    kernels = [event for event in events if event.device_type.name == "CUDA"]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6 / seconds
    waits = sum(event.name in WAITS for event in events)
    return len(kernels) / len(batches), busy, waits / len(batches)


def single(data: tuple[Domain, Pool], batch_sizes: list[int]) -> None:
    """Print the table of models alone."""
    print(f"| {' | '.join(HEADS)} |\n|---{'|---:' * (len(HEADS) - 1)}|")
    for backbone in BACKBONES:
        for variant in VARIANTS:
            for size in batch_sizes:
                slow = speed_of(unrecorded(trainer_of(data, backbone, variant, size)), 1)
                torch.cuda.reset_peak_memory_stats()
                trainer = trainer_of(data, backbone, variant, size)
                speed = speed_of(trainer, WARM_EPOCHS)
                memory = torch.cuda.max_memory_allocated() / 2**30
                kernels, busy, waits = profiled(trainer)
                print(
                    f"| {backbone} `{variant}` | {size} | {slow:,.0f} | {speed:,.0f} "
                    f"| {speed / slow:.1f} | {kernels:,.0f} | {busy:.0%} | {waits:.1f} "
                    f"| {memory:.1f} |",
                    flush=True,
                )


def _together(users: int, batch_size: int, start: float, index: int) -> tuple[float, float]:
    """In a process of its own: when an epoch began and ended that all begin at `start`."""
    torch.set_num_threads(1)
    turn = epoch_turn(trainer_of(random_source(users), "sasrec", "sem", batch_size))
    for _ in range(WARM_EPOCHS):
        turn()
    while time.time() < start:
        time.sleep(0.001)
    began = time.time()
    turn()
    return began, time.time()


def together(users: int, batch_size: int, numbers: list[int], setup_seconds: float) -> None:
    """Print the users per second of all models that share the card."""
    speeds = {}
    for number in numbers:
        start = time.time() + setup_seconds
        turn = partial(_together, users, batch_size, start)
        spans = run_in_processes(turn, list(range(number)), number, ["benchmarks.gpu"])
        began, ended = min(span[0] for span in spans), max(span[1] for span in spans)
        late = began - start
        name = f"{number} at once" + (f" (setup {late:.0f} s late)" if late > 1 else "")
        speeds[name] = number * users / (ended - began)
    print_table(f"SASRec `sem`, batch {batch_size}", speeds)


def main() -> None:
    """Print what the card does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=32_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--together", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--setup-seconds", type=float, default=25.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}\n"
    )
    data = random_source(options.users)
    single(data, options.batch_sizes)
    trainer = trainer_of(data, "sasrec", "recg", 1024)
    turn = ranking_turn(trainer, trainer.parts[0].domain.sequences.holdout("test"))
    turn()
    print_table("ranking", {"full catalogue, exact, sasrec `recg`": turn()})
    together(options.users, max(options.batch_sizes), options.together, options.setup_seconds)


if __name__ == "__main__":
    main()
