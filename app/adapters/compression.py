"""Compresses the bytes of a mail with zstandard at level 1. This takes less time than writing the bytes that it saves."""

from collections.abc import Iterator
from typing import IO, Protocol, cast

import zstandard

LEVEL = 1


def compress(content: bytes) -> bytes:
    """One frame, with its size and a checksum."""
    # A context is cheap at this level, and threads must not share one.
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(content)


def decompress(frame: bytes) -> bytes:
    """The bytes that `compress` got."""
    return zstandard.ZstdDecompressor().decompress(frame)


class Readable(Protocol):
    """Returns the next octets of a frame: as many as requested, or fewer at its end."""

    def read(self, octets: int, /) -> bytes: ...


def decompress_pieces(frame: Readable, octets: int) -> Iterator[bytes]:
    """The bytes that `compress` got, in pieces of `octets` octets. Memory: one piece and the window of the compressor."""
    with zstandard.ZstdDecompressor().stream_reader(cast(IO[bytes], frame), read_size=octets) as reader:
        while piece := reader.read(octets):
            yield piece
