"""The interface of a sequence model, and what the causal ones share.

Shapes: B users, L positions, D model dim. Sequences are padded with 0 on the right, so that a
batch is only as long as its longest user and a causal model needs no padding mask.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

MASK = -1  # stands in `inputs_BL` where the item is hidden from the model


class Views(NamedTuple):
    """What a model reads and what it must predict, position by position."""

    inputs_BL: Tensor  # item_idx, 0 = padding, MASK = hidden
    targets_BL: Tensor  # item_idx to predict at the position, 0 = none


class Backbone(nn.Module, ABC):
    """Turns a user's item vectors into states (Eq. 4: y = SeqRec(H))."""

    dim: int
    max_length: int  # positions the model can read
    training_length: int  # most recent training items that fill those positions
    history_length: int  # most recent history items that fill them at inference
    id_std = 0.02  # of learned item vectors at the start; larger ones cost attention epochs

    @abstractmethod
    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]; `items_BLD` is zero at padding and at MASK."""

    @abstractmethod
    def training_views(self, sequences_BL: Tensor, generator: torch.Generator) -> Views:
        """Inputs and targets of training sequences (at most `training_length` long)."""

    @abstractmethod
    def inference_views(self, histories_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [B, L'] of histories (at most `history_length` long) and, for every user, the
        position [B] whose state is the user vector."""


def check_sizes(**sizes: int) -> None:
    """Refuse sizes below 1 with a ValueError that names them."""
    if small := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"must be 1 or more: {small}")


class CausalBackbone(Backbone):
    """A model whose state at a position depends on this and earlier positions alone."""

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        check_sizes(dim=dim, max_length=max_length)
        self.dim = dim
        self.max_length = max_length
        self.training_length = max_length + 1  # the last item is only ever a target
        self.history_length = max_length

    def training_views(self, sequences_BL: Tensor, generator: torch.Generator) -> Views:
        """Every position predicts the item after it."""
        return Views(sequences_BL[:, :-1], sequences_BL[:, 1:])

    def inference_views(self, histories_BL: Tensor) -> tuple[Tensor, Tensor]:
        """The user vector is the state at the last item."""
        return histories_BL, (histories_BL > 0).sum(dim=1) - 1
