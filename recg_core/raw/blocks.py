"""Text files, plain or gzip, as blocks of whole lines: memory does not grow with the file."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeVar

from isal import isal_zlib

from recg_core.base.access import reading
from recg_core.base.errors import UserError

T = TypeVar("T")
Advance = Callable[[int], object]  # takes the bytes of a file read since the last call
READ_BYTES = 1 << 20
BLOCK_BYTES = 1 << 24
LINE_BYTES = 1 << 28  # a longer line is no record, and would fill the memory
GZIP_WINDOW = 31  # a gzip header, the largest window
GZIP = b"\x1f\x8b"
# What begins like this is no text, whatever its name says.
OTHER_FILES = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it or export it as CSV",
    b"BZh": "compressed with bzip2; unpack it or compress it with gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it or compress it with gzip",
    b"PAR1": "a Parquet file; give it a name that ends in .parquet",
}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_blocks(path: Path, advance: Advance, encoding: str = "utf-8") -> Iterator[bytes]:
    """The text of `path` in blocks of whole lines that end in a newline; gzip is unpacked.

    Of text in UTF-8, lines that are no UTF-8 come as they are; text in another encoding comes
    as UTF-8. A byte order mark is left out. Lines that end in carriage returns alone end in
    newlines instead.

    Args:
        advance: called with the number of bytes of the file read since the last call.

    Yields:
        About `BLOCK_BYTES` bytes, or one line that is longer. The last block gets a newline if
        the file ends without one.

    Raises:
        UserError: on a file that is no text, text in another encoding, a gzip stream that is cut
            or damaged (with the offset in the file), a line above `LINE_BYTES`, or a file that
            cannot be read.
    """
    with reading(path), path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        named_gzip = path.suffix == ".gz"
        if start.startswith(GZIP) or (named_gzip and not start):
            pieces = _gunzip(path, stream, advance)
        elif named_gzip:
            raise UserError(f"{path}: is no gzip file, though its name says so; fetch it again")
        else:
            pieces = _read(stream, advance)
        yield from _whole_lines(path, _as_utf8(path, pieces, encoding))


def ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values, the next one made in a thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, values, None)
        while (value := following.result()) is not None:
            following = pool.submit(next, values, None)
            yield value


def _whole_lines(path: Path, pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    num_bytes = num_lines = 0
    for piece in pieces:
        waiting.append(piece)
        num_bytes += len(piece)
        if num_bytes < BLOCK_BYTES or (b"\n" not in piece and num_bytes < LINE_BYTES):
            continue
        text = b"".join(waiting)
        end = text.rfind(b"\n") + 1
        if not end:
            raise UserError(
                f"{path}:{num_lines + 1}: is a line of more than {LINE_BYTES >> 20} MiB; is each "
                "record on a line of its own?"
            )
        waiting, num_bytes = [text[end:]], len(text) - end
        num_lines += text.count(b"\n")
        yield text[:end]
    text = b"".join(waiting)
    if text:
        yield text if text.endswith(b"\n") else text + b"\n"


def _as_utf8(path: Path, pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text as UTF-8 with newlines; what it begins with must be text in `encoding`."""
    first = b"".join(_first_bytes(pieces))
    _check_is_text(path, first, encoding)
    pieces = chain([first], pieces)
    if codecs.lookup(encoding).name != "utf-8":
        pieces = _decoded(path, pieces, encoding)
        first = next(pieces, b"")
        pieces = chain([first], pieces)
    if b"\r" in first and b"\n" not in first:
        pieces = (piece.replace(b"\r", b"\n") for piece in pieces)
    first = next(pieces, b"")
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _first_bytes(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Enough pieces to tell what a file is."""
    num_bytes = 0
    for piece in pieces:
        yield piece
        num_bytes += len(piece)
        if num_bytes >= READ_BYTES:
            break


def _check_is_text(path: Path, first: bytes, encoding: str) -> None:
    for magic, kind in OTHER_FILES.items():
        if first.startswith(magic):
            raise UserError(f"{path}: is {kind}")
    if codecs.lookup(encoding).name == "utf-8":
        for mark, name in BYTE_ORDER_MARKS.items():
            if first.startswith(mark):
                raise UserError(f"{path}: is {name.upper()}; set `encoding: {name}` or convert it")
        if first[:1000].count(b"\0") > len(first[:1000]) // 10:
            raise UserError(
                f"{path}: is no text in UTF-8, being full of zero bytes; set `encoding:`, perhaps "
                "utf-16-le, or convert it"
            )


def _decoded(path: Path, pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    num_lines = 0
    try:
        for piece in pieces:
            text = decoder.decode(piece)
            num_lines += text.count("\n")
            yield text.encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise UserError(
            f"{path}: holds bytes that are no {encoding} ({error}), after line {num_lines}; set "
            "another `encoding:`"
        ) from error


def _read(stream: BinaryIO, advance: Advance) -> Iterator[bytes]:
    while data := stream.read(READ_BYTES):
        advance(len(data))
        yield data


def _gunzip(path: Path, stream: BinaryIO, advance: Advance) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(GZIP_WINDOW)
    num_read = num_text = 0
    while data := stream.read(READ_BYTES):
        advance(len(data))
        num_read += len(data)
        while data:
            if member.eof:  # another gzip member may follow; zeros are padding
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = isal_zlib.decompressobj(GZIP_WINDOW)
            try:
                # The limit keeps a few bytes from growing into more than memory holds.
                piece = member.decompress(data, BLOCK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # a class, against its stub
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
