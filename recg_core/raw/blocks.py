"""Text files, plain or gzip, as blocks of whole lines: memory does not grow with the file."""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from recg_core.base.errors import UserError

T = TypeVar("T")
Advance = Callable[[int], object]  # takes the bytes of a file read since the last call
READ_BYTES = 1 << 20
BLOCK_BYTES = 1 << 24
GZIP_WINDOW = 31  # zlib: a gzip header, the largest window


def read_blocks(path: Path, advance: Advance) -> Iterator[bytes]:
    """The text of `path`, decompressed if its name ends in `.gz`, in blocks of whole lines.

    Args:
        advance: called with the number of bytes of the file read since the last call.

    Yields:
        About `BLOCK_BYTES` bytes, or one line that is longer. Each block ends in a newline; the
        last gets one if the file has none.

    Raises:
        UserError: on a gzip stream that is cut or damaged, with the offset in the file.
    """
    with path.open("rb") as stream:
        pieces = _gunzip(path, stream, advance) if path.suffix == ".gz" else _read(stream, advance)
        waiting: list[bytes] = []
        num_bytes = 0
        for piece in pieces:
            waiting.append(piece)
            num_bytes += len(piece)
            if num_bytes < BLOCK_BYTES:
                continue
            text = b"".join(waiting)
            end = text.rfind(b"\n") + 1
            waiting, num_bytes = [text[end:]], len(text) - end
            if end:
                yield text[:end]
        text = b"".join(waiting)
        if text:
            yield text if text.endswith(b"\n") else text + b"\n"


def ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values, the next one made in a thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, values, None)
        while (value := following.result()) is not None:
            following = pool.submit(next, values, None)
            yield value


def _read(stream: BinaryIO, advance: Advance) -> Iterator[bytes]:
    while data := stream.read(READ_BYTES):
        advance(len(data))
        yield data


def _gunzip(path: Path, stream: BinaryIO, advance: Advance) -> Iterator[bytes]:
    member = zlib.decompressobj(GZIP_WINDOW)
    num_read = num_text = 0
    while data := stream.read(READ_BYTES):
        advance(len(data))
        num_read += len(data)
        while data:
            if member.eof:  # another gzip member may follow; zeros are padding
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = zlib.decompressobj(GZIP_WINDOW)
            try:
                # The limit keeps a few bytes from growing into more than memory holds.
                piece = member.decompress(data, BLOCK_BYTES)
            except zlib.error as error:
                raise UserError(
                    f"{path}: the gzip stream is damaged between byte offsets "
                    f"{num_read - len(data)} and {num_read} ({error}); fetch the file again"
                ) from error
            data = member.unused_data if member.eof else member.unconsumed_tail
            num_text += len(piece)
            if piece:
                yield piece
    if not member.eof:
        raise UserError(
            f"{path}: the gzip stream is cut at byte offset {num_read}, after {num_text} bytes of "
            "text; fetch the file again"
        )
