"""A catalogue's items as similarity sees them: unit text vectors without their mean.

Shapes: N items, H dimension of the text embeddings, D and n chosen items.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recg_core.models.items import centered
from recg_core.models.rows import EVERY, Items, Rows, joined

WHOLE_BYTES = 1 << 28  # up to here unit vectors are kept; 175,000 items of 384 dimensions
_BLOCK_BYTES = 1 << 20  # of items that are made float32 together, which a cache holds
_SMALLEST = 1e-4  # length of an item that has a direction
_SAMPLE = 20_000  # items that principal directions are found from


class UnitItems:
    """Unit vectors, ready to be multiplied; vectors of other lengths give products."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        # Halves are made float32 in blocks that a cache holds, others multiplied at once.
        whole = rows.parts[0].dtype == torch.float32
        self._block = len(rows) if whole else _BLOCK_BYTES // (4 * rows.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def units(self, chosen: np.ndarray) -> Tensor:
        """The rows `chosen` [D], [D, H]."""
        return self.rows[chosen]

    def products(self, vectors_DH: Tensor, items: Items = EVERY) -> Tensor:
        """Products [D, n] of vectors with `items`."""
        return joined([vectors_DH @ block.T for block in self.rows.blocks(items, self._block)])

    def with_more(self, more: "UnitItems") -> "UnitItems":
        """These and then those of `more`."""
        return UnitItems(self.rows.with_more(more.rows))


class HalfItems:
    """Text embeddings in float16 as the encoder's shards hold them, in memory or mapped.

    Nothing is rounded: the shards are float16 in the first place, and products, the mean and the
    lengths are computed in float32. What is kept in memory is one number an item.
    """

    def __init__(self, rows: Rows, mean_H: Tensor, inverse_N: Tensor | None = None) -> None:
        """Measure the items.

        Args:
            mean_H: what is subtracted of each.
            inverse_N: one over their lengths after that, where it is known.
        """
        self.rows, self.mean_H = rows, mean_H
        self._block = _BLOCK_BYTES // (4 * rows.shape[1])
        self._inverse_N = self._measured() if inverse_N is None else inverse_N

    def __len__(self) -> int:
        return len(self.rows)

    def units(self, chosen: np.ndarray) -> Tensor:
        """Unit vectors [D, H] of the rows `chosen` [D]."""
        return self._units(self.rows[chosen])

    def products(self, vectors_DH: Tensor, items: Items = EVERY) -> Tensor:
        """Products [D, n] of vectors with the unit vectors of `items`."""
        # Of a few vectors' products most of the time goes into making the items float32, of many
        # vectors' into the product itself.
        blocks = self.rows.blocks(items, max(self._block, 16 * len(vectors_DH)))
        products_Dn = joined([vectors_DH @ block.T for block in blocks])
        products_Dn -= (vectors_DH @ self.mean_H)[:, None]
        inverse_n = self._inverse_N[items if isinstance(items, slice) else torch.from_numpy(items)]
        return products_Dn.mul_(inverse_n)

    def with_more(self, more: "HalfItems") -> "HalfItems":
        """These and then those of `more`, less the mean of these."""
        inverse_N = torch.cat([self._inverse_N, more._inverse_N])
        return HalfItems(self.rows.with_more(more.rows), self.mean_H, inverse_N)

    def directions(self, size: int) -> Tensor:
        """The `size` directions [H, size] that keep most of the products of unit vectors."""
        step = max(1, len(self) // _SAMPLE)
        sample_SH = self._units(self.rows[np.arange(0, len(self), step)])
        return torch.linalg.eigh(sample_SH.T @ sample_SH).eigenvectors[:, -size:]

    def projected(self, directions_HR: Tensor, items: Items = EVERY) -> UnitItems:
        """`items` along some directions, by which their products are nearly the cosines."""
        blocks = self.rows.blocks(items, self._block)
        short = torch.cat([(self._units(block) @ directions_HR).half() for block in blocks])
        return UnitItems(Rows([short]))

    def _units(self, text_nH: Tensor) -> Tensor:
        return F.normalize(text_nH - self.mean_H, dim=1)

    def _measured(self) -> Tensor:
        blocks = self.rows.blocks(EVERY, self._block)
        lengths = torch.cat([(block - self.mean_H).norm(dim=1) for block in blocks])
        # An item at the mean is like no other: what would be divided there are rounding errors.
        return torch.where(lengths > _SMALLEST, 1 / lengths, 0)


NearItems = UnitItems | HalfItems


def cosine(near: NearItems, chosen: np.ndarray, items: Items = EVERY) -> Tensor:
    """Cosines [D, n] of the rows `chosen` [D] with `items`."""
    return near.products(near.units(chosen), items)


def near_items(text: np.ndarray, mean_H: np.ndarray | None, device: torch.device) -> NearItems:
    """The items of text embeddings [N, H]: `HalfItems` where they are float16 and too many.

    Args:
        mean_H: what is subtracted of each; None: the mean of `text`, which must be float32.
    """
    if mean_H is not None and text.dtype == np.float16 and 2 * text.nbytes > WHOLE_BYTES:
        rows = Rows([torch.from_numpy(text)], device)
        return HalfItems(rows, torch.from_numpy(mean_H).to(device))
    return UnitItems(Rows([anchor_items(torch.from_numpy(text).to(device).float(), mean_H)]))


def with_texts(near: NearItems, text: np.ndarray, mean_H: np.ndarray) -> NearItems:
    """Items and then those of text embeddings [n, H], of which the same mean is subtracted."""
    if isinstance(near, HalfItems):
        rows = Rows([torch.from_numpy(text)], near.rows.device)
        return near.with_more(HalfItems(rows, near.mean_H))
    units_nH = anchor_items(torch.from_numpy(text).to(near.rows.device).float(), mean_H)
    return near.with_more(UnitItems(Rows([units_nH])))


def anchor_items(text_NH: Tensor, mean_H: np.ndarray | None = None) -> Tensor:
    """Unit vectors [N, H] of a domain's text embeddings after its mean is subtracted."""
    return F.normalize(centered(text_NH, mean_H), dim=1)
