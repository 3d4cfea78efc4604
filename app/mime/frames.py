"""What goes through the pipes between the gateway and the parser process; all numbers big-endian.

The process says READY once it can work. Request: `Op`, attachment number, length, the mail. Answer: `Status`,
whether the process wants to be replaced, length of the JSON, length of the content; the JSON; the content.
"""

import struct
from enum import IntEnum

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
