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
    """Runs with the GPU that each trains on, and how many of them may run at once.

    A run goes to the GPU with most memory left for it, and when all are full, as if all were free
    again.

    A model leaves a GPU idle while it is judged, while its batches are drawn and where its steps
    are not recorded, so that several trained at once take less time than one after the other.

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
    free = {card: torch.cuda.mem_get_info(card)[0] for card in cards}
    placed, left = [], dict(free)
    for run in runs:
        if max(left.values()) < needed:
            left = dict(free)
        card = max(left, key=left.__getitem__)
        left[card] -= needed
        placed.append(replace(run, device=f"cuda:{card}"))
    at_once = sum(room // needed for room in free.values())
    return placed, max(1, min(most, at_once))
