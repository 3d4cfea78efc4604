"""What can be told of a mail without reading it: the fields of its first 64 KB.

Runs in the gateway's own process when the parser process was stopped or died, so everything here is pure
Python, linear, and over a bounded piece.
"""

from app.mime.headers import read_envelope, split_fields
from app.mime.model import DefectCode, Defects, ParsedMail

HEAD_MAX_OCTETS = 64 * 1024


def parse_minimal(raw: bytes, code: DefectCode, detail: str = "") -> ParsedMail:
    """The header fields, no text and no attachments, and the defect that says why."""
    defects = Defects()
    defects.note(code, detail)
    head = raw[:HEAD_MAX_OCTETS]
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\n\r\n")) if at >= 0), default=len(head))
    try:
        envelope = read_envelope(split_fields(head, 0, end, defects), "", defects)
    except Exception as exc:  # the last resort: the mail is stored even where its header breaks our reader
        defects.note(DefectCode.PARSER_ERROR, type(exc).__name__)
        envelope = {}
    return ParsedMail(**envelope, defects=defects.listed())
