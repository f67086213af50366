"""How the models of a stage share the GPUs of a machine."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from recg_core.domains.source_domains import SourceDomains
from recg_core.models.device import choose_device
from recg_core.training.plan import Run

# What a process takes of a GPU before it holds any data, and what parameters and batches may take.
PROCESS_BYTES = 2 << 30
TEXT_COPIES = 3  # of the source's embeddings that a model with an anchor holds


def share_cards(runs: Sequence[Run], source: SourceDomains, most: int) -> tuple[list[Run], int]:
    """Runs with the GPU that each trains on, in turns, and how many of them may run at once.

    A model of this field's sizes leaves a GPU idle between its small kernels, so that several
    trained at once take little longer than one.

    Args:
        runs: of one device; None or `cuda` means all GPUs of the machine.
        most: processes that the cores allow.

    Returns:
        As many at once as the free memory of the GPUs takes, at least one; one where the device is
        none of CUDA's.
    """
    device = choose_device(runs[0].device)
    if device.type != "cuda":
        return list(runs), 1
    cards = range(torch.cuda.device_count()) if device.index is None else [device.index]
    needed = PROCESS_BYTES + TEXT_COPIES * sum(domain.text.nbytes for domain in source.domains)
    at_once = sum(torch.cuda.mem_get_info(card)[0] // needed for card in cards)
    placed = [
        replace(run, device=f"cuda:{cards[number % len(cards)]}") for number, run in enumerate(runs)
    ]
    return placed, max(1, min(most, at_once))
