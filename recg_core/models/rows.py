"""The rows of a large matrix, read a part at a time: in memory or mapped from a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recg_core.domains.sequences import Ragged

# Some of a catalogue's items, by rows j = item_idx - 1.
Items = slice | np.ndarray
EVERY = slice(None)


@dataclass(frozen=True)
class Scorer:
    """Scores of a catalogue's items for rows of histories, a tile at a time.

    Args:
        of: reads B rows of histories once and returns a function from n items to their scores
            [B, n], which nobody writes to.
        together: gives, for many rows, a scorer of these whose work on items is done once for all
            groups of them that are asked about the same `span` in turn; None where groups have no
            work in common.
        span: so many items from a multiple of it on.
    """

    of: Callable[[np.ndarray], Callable[[Items], Tensor]]
    together: "Callable[[np.ndarray], Scorer] | None" = None
    span: int = 1

    def __call__(self, rows: np.ndarray, items: Items = EVERY) -> Tensor:
        """Scores [B, N], column j for item_idx j + 1; of `items` alone [B, n], in their order."""
        return self.of(rows)(items)


def combined(
    scorers: Sequence[Scorer], combine: Callable[[np.ndarray], Callable[..., Tensor]]
) -> Scorer:
    """A scorer of other scorers' scores.

    Args:
        combine: gives, for rows, a function from items and the scores [B, n] of each scorer to the
            new scores.
    """

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        scores, final = [scorer.of(rows) for scorer in scorers], combine(rows)
        return lambda items: final(items, *(score(items) for score in scores))

    def together(rows: np.ndarray) -> Scorer:
        found = [each if each.together is None else each.together(rows) for each in scorers]
        return combined(found, combine)

    shared = any(scorer.together for scorer in scorers)
    return Scorer(of, together if shared else None, max(scorer.span for scorer in scorers))


class Rows:
    """A matrix [N, D] in parts, one above the other, of float16 or float32; read as float32.

    A part may be mapped from a file, of which then only what is read comes into memory. Rows that
    are added become part of the last of two, so that the first, the large one, is never copied.
    """

    def __init__(self, parts: Sequence[Tensor], device: torch.device | None = None) -> None:
        """Take parts as they are.

        Args:
            device: where what is read goes; None: where the first part is.
        """
        self.parts = tuple(parts)
        self.device = self.parts[0].device if device is None else device
        lengths = [len(part) for part in self.parts]
        self._starts = [sum(lengths[:number]) for number in range(len(lengths))]
        self.shape = torch.Size([sum(lengths), *self.parts[0].shape[1:]])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Items | Tensor) -> Tensor:
        """The chosen rows, float32 on the device; an array of numbers may have any shape."""
        if isinstance(chosen, slice):
            found = self._span(*chosen.indices(len(self))[:2])
        else:
            found = self._gathered(torch.as_tensor(chosen).long())
        return found.to(self.device, torch.float32)

    def blocks(self, items: Items, size: int) -> Iterator[Tensor]:
        """The chosen rows in blocks of up to `size`, none of them from two parts."""
        if not isinstance(items, slice):
            for start in range(0, len(items), size):
                yield self[items[start : start + size]]
            return
        start, stop, _ = items.indices(len(self))
        for first, part in zip(self._starts, self.parts, strict=True):
            last = min(stop, first + len(part))
            for begin in range(max(start, first), last, size):
                yield self[begin : min(begin + size, last)]

    def with_more(self, more: "Rows") -> "Rows":
        """These rows and after them those of `more`; what is here stays as it is."""
        base, *added = self.parts
        last = torch.cat([*added, *(part.to(base.dtype) for part in more.parts)])
        return Rows([base, last], self.device)

    def _span(self, start: int, stop: int) -> Tensor:
        spans = [
            part[max(start - first, 0) : max(stop - first, 0)]
            for first, part in zip(self._starts, self.parts, strict=True)
            if first < stop and start < first + len(part)
        ]
        if not spans:
            return self.parts[0][:0]
        return spans[0] if len(spans) == 1 else torch.cat(spans)

    def _gathered(self, numbers: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return self.parts[0][numbers.to(self.parts[0].device)]
        numbers = numbers.to(self.parts[0].device)
        found = self.parts[0].new_empty((*numbers.shape, *self.shape[1:]))
        for first, part in zip(self._starts, self.parts, strict=True):
            here = (numbers >= first) & (numbers < first + len(part))
            found[here] = part[numbers[here] - first]
        return found


def places_of(histories: Ragged, items: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the items of B histories stand in a matrix [B, n] of the ascending rows `items`."""
    item_E = histories.values - 1
    column_E = np.searchsorted(items, item_E)
    here = items[np.minimum(column_E, len(items) - 1)] == item_E
    row, column = histories.rows[here], column_E[here]
    return torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)


def parts_of(items: Items, num_items: int, size: int) -> Iterator[Items]:
    """The chosen of N items in turn, up to `size` at a time; slices end at multiples of that."""
    if isinstance(items, slice):
        start, stop, _ = items.indices(num_items)
        edges = [start, *range((start // size + 1) * size, stop, size), stop]
        yield from map(slice, edges, edges[1:])
    else:
        for begin in range(0, len(items), size):
            yield items[begin : begin + size]


def num_chosen(items: Items, num_items: int) -> int:
    """How many of N items are chosen."""
    return len(range(num_items)[items]) if isinstance(items, slice) else len(items)


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks of columns side by side."""
    return blocks[0] if len(blocks) == 1 else torch.cat(list(blocks), dim=1)
