"""The content of a mail, as values. Only these shapes leave this package; they can travel through a pipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import orjson

from app.mime.text import clean_line

READER = 2
"""The number of this reader. Each mail that it reads gets this number. Raise it if mails must be read again."""
DETAIL_MAX_CHARS = 200


class DefectCode(StrEnum):
    """What was wrong with a mail, or was cut off. The codes are stored and shown, so they do not change."""

    ADDRESSES_LIMIT = "addresses_limit"
    ATTACHMENT_NAME_CHANGED = "attachment_name_changed"
    BAD_ADDRESS = "bad_address"
    BAD_CONTENT_TYPE = "bad_content_type"
    BAD_DATE = "bad_date"
    BAD_ENCODING = "bad_encoding"
    BAD_HEADER = "bad_header"
    BAD_INTERNAL_DATE = "bad_internal_date"
    BAD_MESSAGE_ID = "bad_message_id"
    BAD_TRANSFER_ENCODING = "bad_transfer_encoding"
    BARE_CR = "bare_cr"
    CONTAINER_UNREADABLE = "container_unreadable"
    CONTROL_CHARACTERS = "control_characters"
    DEPTH_LIMIT = "depth_limit"
    HEADER_TRUNCATED = "header_truncated"
    HEADERS_LIMIT = "headers_limit"
    HTML_TRUNCATED = "html_truncated"
    HTML_WITHHELD = "html_withheld"
    MISSING_BOUNDARY = "missing_boundary"
    NO_HEADERS = "no_headers"
    PARAMETERS_LIMIT = "parameters_limit"
    PARSER_DIED = "parser_died"
    PARSER_ERROR = "parser_error"
    PARSER_MEMORY = "parser_memory"
    PARSER_TIMEOUT = "parser_timeout"
    PARTS_LIMIT = "parts_limit"
    REFERENCES_LIMIT = "references_limit"
    TEXT_TRUNCATED = "text_truncated"
    UNCLOSED_MULTIPART = "unclosed_multipart"
    UNKNOWN_CHARSET = "unknown_charset"


PARSER_FAULTS = frozenset(
    {DefectCode.PARSER_DIED, DefectCode.PARSER_ERROR, DefectCode.PARSER_MEMORY, DefectCode.PARSER_TIMEOUT}
)
"""A mail with one of these shows less than it holds, or nothing. The reader is at fault, not the sender."""
SERVER_DEFECTS = frozenset({DefectCode.BAD_INTERNAL_DATE})
"""These are recorded when a mail is stored, not by the reader, so a new reading keeps them."""


@dataclass(frozen=True, slots=True)
class Defect:
    code: DefectCode
    detail: str


class Defects:
    """Collects defects while a mail is read. Each code occurs once, with its first detail."""

    def __init__(self) -> None:
        self._found: dict[DefectCode, str] = {}

    def record(self, code: DefectCode, detail: str = "") -> None:
        if code not in self._found:
            self._found[code] = clean_line(detail, DETAIL_MAX_CHARS)

    def listed(self) -> tuple[Defect, ...]:
        return tuple(Defect(code, detail) for code, detail in self._found.items())


@dataclass(frozen=True, slots=True)
class Address:
    name: str | None
    address: str
    """Empty if the header names somebody without an address."""


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    n: int
    """From 1, in the order of the mail. Attachments that were listed before keep their number (`app.mime.numbering`)."""
    name: str
    """Never empty, no path, no control or direction character, at most 255 octets of UTF-8."""
    content_type: str
    size_octets: int
    """Decoded."""
    content_id: str | None
    """Without the angle brackets, as `cid:` links name it."""
    inline: bool
    """The text shows this part (for example, an image in the HTML); the sender did not attach it."""
    part: str
    """The position of the part in the mail (`Part.locator`), the same for every reader. Stored, never shown."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An attachment in the list of a stored message. A caller may have kept its number."""

    n: int
    part: str | None
    """None: reader 1 listed it, and reader 1 stored no positions."""
    size_octets: int


@dataclass(frozen=True, slots=True)
class AttachmentContent:
    info: AttachmentInfo
    content: bytes


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Somebody who has not got a mail, according to a report."""

    addresses: tuple[str, ...]
    """The address that the mail was sent to, if the report knows it, and the one that it was forwarded to. Comparable."""
    enhanced_status: str | None
    """RFC 3463, as `5.1.1`."""
    code: int | None
    """The mail server's reply code (RFC 5321 §4.2)."""
    server_text: str | None
    """The words of the mail server that refused."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """Who has not got a mail. Only the Message-IDs say which mail it was; anybody can write such a report."""

    message_ids: tuple[str, ...]
    """The likeliest first."""
    failed: tuple[Undelivered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMail:
    """A mail as read. Every text has passed the gate of `app.mime.text`; times are aware UTC."""

    message_id_header: str | None = None
    """With its angle brackets."""
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    """Oldest first, with their angle brackets."""
    from_: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str | None = None
    """None: there is no Subject header. An empty header gives an empty text."""
    snippet: str = ""
    date_header: datetime | None = None
    text: str | None = None
    html: str | None = None
    """Sanitised, so it is safe to show. Images only as `cid:` and `data:`."""
    attachments: tuple[AttachmentInfo, ...] = ()
    has_attachments: bool = False
    """Whether at least one attachment is not inline."""
    is_auto_reply: bool = False
    report: DeliveryReport | None = None
    """What this mail reports on another one, if it reports a failure."""
    defects: tuple[Defect, ...] = ()

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls.from_mapping(orjson.loads(data))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build it from the decoded output of `to_json`."""
        date, sender, report = values["date_header"], values["from_"], values["report"]
        return cls(
            **{
                **values,
                "references": tuple(values["references"]),
                "from_": Address(**sender) if sender else None,
                **{key: tuple(Address(**each) for each in values[key]) for key in _ADDRESS_LISTS},
                "date_header": datetime.fromisoformat(date) if date else None,
                "attachments": tuple(AttachmentInfo(**each) for each in values["attachments"]),
                "report": _report(report) if report else None,
                "defects": tuple(Defect(DefectCode(d["code"]), d["detail"]) for d in values["defects"]),
            }
        )


_ADDRESS_LISTS = ("to", "cc", "bcc", "reply_to")


def _report(values: Mapping[str, Any]) -> DeliveryReport:
    failed = (Undelivered(**{**each, "addresses": tuple(each["addresses"])}) for each in values["failed"])
    return DeliveryReport(tuple(values["message_ids"]), tuple(failed))
