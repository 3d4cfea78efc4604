"""The protocol on the pipes between the gateway and the parser process. All numbers are big-endian.

The process sends READY when it can work. A request consists of: `Op`, length of the `Asked`, length of the mail; the
`Asked` as JSON; the mail. An answer consists of: `Status`, whether the process asks to be replaced, length of the JSON,
length of the content; the JSON; the content.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import orjson

from app.mime.model import Listed

READY = b"R"
REQUEST = struct.Struct("!BIQ")
REPLY = struct.Struct("!BBQQ")


class Op(IntEnum):
    PARSE = 1
    PARSE_WITHOUT_HTML = 2
    ATTACHMENT = 3


class Status(IntEnum):
    DONE = 0
    NOTHING = 1
    """There is no attachment with this number."""
    MEMORY = 2
    FAILED = 3
    """The JSON is the name of the exception."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of a request, without the mail."""

    n: int = 0
    """The number of the requested attachment."""
    listed: Sequence[Listed] = ()
    """The attachments that the stored message lists."""

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        values = orjson.loads(data)
        return cls(values["n"], tuple(Listed(**each) for each in values["listed"]))
