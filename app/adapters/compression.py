"""The bytes of a mail, smaller: zstandard at level 1, which costs less time than writing what it saves."""

import zstandard

LEVEL = 1


def compress(content: bytes) -> bytes:
    """One frame with its size and a checksum."""
    # A context is cheap at this level, and not to be shared among threads.
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(content)


def decompress(frame: bytes) -> bytes:
    """What `compress` was given."""
    return zstandard.ZstdDecompressor().decompress(frame)
