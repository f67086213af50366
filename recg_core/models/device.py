"""Where models run."""

import torch


def choose_device(name: str | None = None) -> torch.device:
    """The torch device of that name; None: the GPU where there is one, else the CPU."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
