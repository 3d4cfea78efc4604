"""Reads only the fields in the first 64 KB of a mail.

It runs in the gateway's own process when the parser process was stopped or died. So everything here is pure Python and
linear, and works on a bounded piece.
"""

import re

from app.mime.header_end import find_header, without_indent
from app.mime.headers import read_envelope, split_fields
from app.mime.model import DefectCode, Defects, ParsedMail
from app.mime.structure import normalise

HEAD_MAX_OCTETS = 64 * 1024

_CHARSET = re.compile(rb"\bcharset\s{0,10}+=\s{0,10}+[\"']?([A-Za-z0-9_.:-]{1,40}+)", re.I)


def parse_minimal(raw: bytes, code: DefectCode, detail: str = "") -> ParsedMail:
    """The header fields, without text and attachments, with the defect that says why."""
    defects = Defects()
    defects.record(code, detail)
    head = without_indent(normalise(raw[:HEAD_MAX_OCTETS], defects))
    begin = find_header(head)[0] or 0
    end = min(
        (at for at in (head.find(b"\n\n", begin), head.find(b"\n\r\n", begin)) if at >= 0), default=len(head)
    )
    said = _CHARSET.search(head)  # of the header, otherwise of the first text part
    charset = said[1].decode("ascii") if said else ""
    try:
        envelope = read_envelope(split_fields(head, begin, end, defects), charset, defects)
    except Exception as exc:  # the last resort: the mail is stored even if its header breaks our reader
        defects.record(DefectCode.PARSER_ERROR, type(exc).__name__)
        envelope = {}
    return ParsedMail(**envelope, defects=defects.listed())
