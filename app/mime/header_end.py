"""Finds the real end of a header block whose end is irregular (RFC 5322 §2.1: it should be the first empty line).

Scripts end a header with a line of spaces, or begin the text without an empty line. Then everything up to the next empty
line would be header, and the first paragraph of the text, or all of it, would vanish.
"""

import re

# Regular fields. A continuation line holds more than white space.
_FIELDS = re.compile(rb"(?:[!-9;-~]{1,200}+[ \t]*+:[^\n]*+\n?+(?:[ \t]++[^\s][^\n]*+\n?+)*+)*+")
_KNOWN_FIELD = re.compile(
    rb"^(?:from|to|cc|bcc|subject|date|sender|reply-to|message-id|in-reply-to|references|received|return-path"
    rb"|mime-version|user-agent|precedence|importance|priority|organization|delivered-to|auto-submitted"
    rb"|(?:content|x|list|dkim|domainkey|arc|authentication|resent|thread|received|disposition|feedback)"
    rb"-[!-9;-~]{1,100}+)[ \t]*+:",
    re.I | re.M,
)
_FIELD_START = re.compile(rb"[!-9;-~]{1,200}+[ \t]*+:")
_BLANK = re.compile(rb"[ \t\r]*+(?:\n|\Z)")
_INDENT = re.compile(rb"[ \t]*+")
# Text that tools put before a mail: newlines, the "From " line of an mbox.
_PROLOGUE = re.compile(rb"(?:[ \t]*\r?\n)*+(?:>?From [^\n]*\n)?+")


def is_known_field(raw: bytes, at: int) -> bool:
    """Whether a field with a usual name begins here."""
    return _KNOWN_FIELD.match(raw, at) is not None


def has_known_field(raw: bytes, begin: int, end: int) -> bool:
    return _KNOWN_FIELD.search(raw, begin, end) is not None


def without_indent(raw: bytes) -> bytes:
    """A mail without a byte order mark, and without white space before its first field."""
    trimmed = raw.removeprefix(b"\xef\xbb\xbf")
    indent = _INDENT.match(trimmed)
    if not indent or not indent.end() or not _FIELD_START.match(trimmed, indent.end()):
        return trimmed
    return trimmed[indent.end() :] if is_known_field(trimmed, trimmed.find(b"\n") + 1) else trimmed


def find_header(raw: bytes) -> tuple[int | None, bool]:
    """The offset where the header of a mail begins (None: it has no header), and whether this is a guess.

    A first line that is no field, for example of a protocol ("+OK"), is skipped if a known field follows.
    """
    prologue = _PROLOGUE.match(raw)
    begin = prologue.end() if prologue else 0
    if _FIELD_START.match(raw, begin):
        return begin, False
    next_line = raw.find(b"\n", begin) + 1
    if not next_line or not is_known_field(raw, next_line):
        return None, False
    return next_line, True


def early_end(raw: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """For a block from begin to end: where the header ends and the text begins, if that is earlier than the end.

    None: the whole block is header. An irregular line before a known field is garbage in the header.
    """
    at = _fields_end(raw, begin, end)
    known = -1  # offset of the next known field
    while at < end:
        line_end = raw.find(b"\n", at, end)
        after = end if line_end < 0 else line_end + 1
        blank = _BLANK.match(raw, at) is not None
        if blank and not _FIELD_START.match(raw, after, end) and raw[after : after + 1] not in (b" ", b"\t"):
            return at, after
        if known < after:
            found = _KNOWN_FIELD.search(raw, after, end)
            if found is None:
                return at, after if blank else at
            known = found.start()
        if not blank:
            return None
        at = _fields_end(raw, after, end)
    return None


def _fields_end(raw: bytes, at: int, end: int) -> int:
    fields = _FIELDS.match(raw, at, end)
    return fields.end() if fields else at
