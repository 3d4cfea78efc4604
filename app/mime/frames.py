"""What goes through the pipes between the gateway and the parser process; all numbers big-endian.

The process says READY once it can work. Request: `Op`, length of the `Asked`, length of the mail; the `Asked` as
JSON; the mail. Answer: `Status`, whether the process wants to be replaced, length of the JSON, length of the content;
the JSON; the content.
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
    """There is no attachment of that number."""
    MEMORY = 2
    FAILED = 3
    """The JSON is the name of what was raised."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says besides the mail."""

    n: int = 0
    """Which attachment is wanted."""
    listed: Sequence[Listed] = ()
    """The attachments that the stored message lists."""

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        values = orjson.loads(data)
        return cls(values["n"], tuple(Listed(**each) for each in values["listed"]))
