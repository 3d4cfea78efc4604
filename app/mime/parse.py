"""A mail's bytes read into what the API shows, in time linear in its size, whatever its bytes are.

Why not the standard library's `email`: of 7,710 collected mails it raises on 82, and a 40 KB header stops it
for 12 s (gh-136063, gh-87075); compat32 avoids some of that, not all, and still splits line by line in
Python. So structure, addresses, parameters and encoded words have readers of their own, which look at bounded
values once. Base64, quoted-printable and charsets are the standard library's, in C. What remains unbounded,
HTML parsers in C and Rust and mistakes of our own, is bounded from outside: `worker` runs this in a process
with limits on time and memory.
"""

from app.mime.attachments import decode_part, describe
from app.mime.bodies import BodyReader, Section, read_attachment_parts, read_sections
from app.mime.headers import read_envelope
from app.mime.minimal import parse_minimal
from app.mime.model import AttachmentContent, DefectCode, Defects, ParsedMail
from app.mime.plain import make_snippet
from app.mime.structure import Part, normalise, read_tree


class _Mail:
    """The tree of a mail and what is decided about its parts, for reading it and for taking parts out."""

    def __init__(self, raw: bytes) -> None:
        self.defects = Defects()
        self.raw = normalise(raw, self.defects)
        self.root: Part = read_tree(self.raw, self.defects)
        self.sections: list[Section] = read_sections(self.root)
        self.attachment_parts: list[Part] = read_attachment_parts(self.root)
        self.bodies = BodyReader(self.raw, self.defects)
        has_cid = any(b"content-id" in part.fields for part in self.attachment_parts)
        self.shown = self.bodies.shown_content_ids(self.sections) if has_cid else frozenset()

    def attachment(self, n: int) -> AttachmentContent:
        part = self.attachment_parts[n - 1]
        content = decode_part(self.raw, part, self.defects, where=f"attachment {n}")
        return AttachmentContent(describe(part, n, content, self.shown, self.defects), content)


def parse_mail(raw: bytes, *, with_html: bool = True) -> ParsedMail:
    """Read a mail. Never fails on its content: what could not be read is listed in `defects`.

    Without HTML, no HTML parser sees the mail: `html` is None and text comes from HTML by dropping its tags.

    Raises:
        MemoryError: only the caller knows whether there could be more.
    """
    try:
        return _parse(raw, with_html=with_html)
    except MemoryError:
        raise
    except Exception as exc:  # the promise of this function; every case found becomes a test
        return parse_minimal(raw, DefectCode.PARSER_ERROR, type(exc).__name__)


def _parse(raw: bytes, *, with_html: bool) -> ParsedMail:
    mail = _Mail(raw)
    charset = mail.root.parameters.get("charset", "")
    envelope = read_envelope(mail.root.fields, charset, mail.defects)
    text, html = mail.bodies.texts(mail.sections, with_html=with_html)
    if not with_html:
        mail.defects.note(DefectCode.HTML_WITHHELD, "read without its HTML")
    attachments = tuple(mail.attachment(n).info for n in range(1, len(mail.attachment_parts) + 1))
    # Reports on delivery and reading come from machines (RFC 6522); some have neither header.
    envelope["is_auto_reply"] = envelope["is_auto_reply"] or mail.root.media_type == "multipart/report"
    return ParsedMail(
        **envelope,
        snippet=make_snippet(text or ""),
        text=text,
        html=html,
        attachments=attachments,
        has_attachments=any(not each.inline for each in attachments),
        defects=mail.defects.listed(),
    )


def extract_attachment(raw: bytes, n: int) -> AttachmentContent | None:
    """The n-th attachment, decoded, numbered as `parse_mail` does; None where there is no n-th."""
    mail = _Mail(raw)
    return mail.attachment(n) if 1 <= n <= len(mail.attachment_parts) else None
