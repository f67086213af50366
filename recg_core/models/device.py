"""Where models run."""

import torch

from recg_core.base.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """The torch device of that name; None: the GPU where there is one, else the CPU.

    Raises:
        UserError: when torch knows no such device, or this machine has none.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {name!r}: this machine has none; give cpu or cuda") from error
    return device
