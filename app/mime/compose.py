"""Builds the bytes of a mail from what a caller wants to send (RFC 5322, MIME, RFC 2047, RFC 2231).

No text from a caller reaches a header unchanged. Control characters are refused (`control_characters`), addresses are taken
apart and built again (`entered_addresses`), and every value is encoded and folded here (`written_headers`). The finished
header is read again and compared with what was meant.

The result is 7-bit: no server on the way needs an extension for it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy, compat32
from email.utils import format_datetime

from app.errors import FieldFault, InvalidInput
from app.mime.control_characters import is_unicode, refuse_controls
from app.mime.entered_addresses import Mailbox, rebuilt_address
from app.mime.file_names import filename_parameter, is_plain
from app.mime.written_headers import addresses, encoded_words, folded, msg_id, unstructured

_CONTENT_ID = re.compile(r"[!#-'*+\--;=?-~]{1,200}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")

_MAX_REFERENCES = 20
_MIME_HEADERS = frozenset({"mime-version", "content-type", "content-transfer-encoding"})


@dataclass(frozen=True)
class OutgoingAttachment:
    name: str
    content_type: str
    content: bytes
    content_id: str | None = None
    """Without angle brackets. The HTML shows the attachment as `cid:…` (RFC 2392)."""


@dataclass(frozen=True)
class Draft:
    """Everything that goes into a mail. There is no Bcc: the header shows only the recipients in `to` and `cc`."""

    sender: Mailbox
    message_id_header: str
    date: datetime
    to: Sequence[Mailbox] = ()
    cc: Sequence[Mailbox] = ()
    reply_to: Sequence[Mailbox] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: Sequence[OutgoingAttachment] = ()
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    auto_submitted: str | None = None
    """`auto-replied` or `auto-generated` (RFC 3834 §5); None: a person wrote it."""


def compose(draft: Draft) -> bytes:
    """The mail, with CRLF as line end, 7-bit.

    Raises:
        InvalidInput: with the name of the field of the submission.
    """
    _refuse_what_cannot_be_sent(draft)
    intended = list(_headers(draft))
    message = EmailMessage(policy=_POLICY)
    for name, value in intended:
        message[name] = _Written(value)
    _fill(message, draft)
    raw = message.as_bytes()
    _verify(raw, intended)
    return raw


def dated(raw: bytes, at: datetime) -> bytes:
    """A mail of `compose` with another Date. Every other octet stays, and the length."""
    first, line_end, rest = raw.partition(b"\r\n")
    return f"Date: {format_datetime(at)}".encode() + line_end + rest if first.startswith(b"Date: ") else raw


def with_bcc(raw: bytes, bcc: Sequence[Mailbox]) -> bytes:
    """A mail of `compose` as its sender keeps it: with the recipients that the others do not see."""
    if not bcc:
        return raw
    first, line_end, rest = raw.partition(b"\r\n")
    return b"".join([first, line_end, f"Bcc: {addresses(bcc)}".encode(), line_end, rest])


class _Written(str):
    """The value of a header that is already encoded and folded."""

    __slots__ = ()


class _Policy(EmailPolicy):
    """Leaves finished values unchanged. The library folds only the headers that it adds itself (MIME headers)."""

    def header_store_parse(self, name: str, value: object) -> tuple[str, object]:  # type: ignore[override]
        if isinstance(value, _Written):
            return name, value
        return super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: str) -> str:
        if isinstance(value, _Written):
            return str(value)
        return super().header_fetch_parse(name, value)  # type: ignore[no-any-return]

    def fold(self, name: str, value: str) -> str:
        if isinstance(value, _Written):
            return f"{name}: {value}{self.linesep}"
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: str) -> bytes:
        if isinstance(value, _Written):
            return self.fold(name, value).encode("ascii")
        return super().fold_binary(name, value)


_POLICY = _Policy(linesep="\r\n", cte_type="7bit", raise_on_defect=False)


def _refuse_what_cannot_be_sent(draft: Draft) -> None:
    refuse_controls(draft.subject, "/subject")
    refuse_controls(draft.sender.name or "", "/from_name")
    for field, addressees in (("to", draft.to), ("cc", draft.cc), ("reply_to", draft.reply_to)):
        for position, mailbox in enumerate(addressees):
            refuse_controls(mailbox.name or "", f"/{field}/{position}")
            if rebuilt_address(mailbox.address, f"/{field}/{position}") != mailbox.address:
                raise InvalidInput(FieldFault(f"/{field}/{position}", "must be an e-mail address"))
    for field, text in (("text", draft.text), ("html", draft.html)):
        if text is not None and ("\0" in text or not is_unicode(text)):
            raise InvalidInput(FieldFault(f"/{field}", "must be valid Unicode without NUL"))
    if draft.text is None and draft.html is None and not draft.attachments:
        raise InvalidInput(FieldFault("/text", "is required if there is neither html nor an attachment"))
    _refuse_attachments(draft)


def _refuse_attachments(draft: Draft) -> None:
    content_ids: set[str] = set()
    for position, attachment in enumerate(draft.attachments):
        refuse_controls(attachment.name, f"/attachments/{position}/name")
        if not _MEDIA_TYPE.fullmatch(attachment.content_type):
            raise InvalidInput(
                FieldFault(
                    f"/attachments/{position}/content_type", "must be `type/subtype` without parameters"
                )
            )
        # Base64 is forbidden for both (RFC 2045 §6.4), and only base64 carries any bytes unchanged.
        if attachment.content_type.lower().startswith(("multipart/", "message/")):
            fault = "must not be multipart/* or message/*; application/octet-stream carries any file"
            raise InvalidInput(FieldFault(f"/attachments/{position}/content_type", fault))
        if attachment.content_id is not None:
            _refuse_content_id(
                attachment.content_id, content_ids, draft, f"/attachments/{position}/content_id"
            )


def _refuse_content_id(content_id: str, others: set[str], draft: Draft, pointer: str) -> None:
    if not _CONTENT_ID.fullmatch(content_id):
        fault = "must be ASCII without spaces, quotes, parentheses and angle brackets"
    elif content_id in others:
        fault = "must differ from those of the other attachments"
    elif draft.html is None:
        fault = "is only for what `html` shows"
    else:
        others.add(content_id)
        return
    raise InvalidInput(FieldFault(pointer, fault))


def _headers(draft: Draft) -> Iterator[tuple[str, str]]:
    """The names and finished values, in the order of the mail."""
    yield "Date", format_datetime(draft.date)
    yield "From", addresses([draft.sender])
    if draft.to:
        yield "To", addresses(draft.to)
    if draft.cc:
        yield "Cc", addresses(draft.cc)
    if draft.reply_to:
        yield "Reply-To", addresses(draft.reply_to)
    if draft.subject.strip():
        yield "Subject", unstructured(draft.subject.strip())
    yield "Message-ID", msg_id(draft.message_id_header)
    if draft.in_reply_to is not None:
        yield "In-Reply-To", folded("In-Reply-To", [msg_id(draft.in_reply_to)])
    references = [msg_id(reference) for reference in draft.references]
    if len(references) > _MAX_REFERENCES:  # RFC 5537 §3.4.4: the first and the last ones matter
        references = references[:1] + references[1 - _MAX_REFERENCES :]
    if references:
        yield "References", folded("References", references)
    if draft.auto_submitted is not None:
        yield "Auto-Submitted", draft.auto_submitted


def _fill(message: EmailMessage, draft: Draft) -> None:
    if draft.text is not None:
        message.set_content(draft.text, subtype="plain", charset="utf-8")
        if draft.html is not None:
            message.add_alternative(draft.html, subtype="html", charset="utf-8")
    elif draft.html is not None:
        message.set_content(draft.html, subtype="html", charset="utf-8")
    shown = [each for each in draft.attachments if each.content_id is not None]
    if shown:  # RFC 2387: the HTML, and what it shows
        html = message if draft.text is None else list(message.iter_parts())[-1]
        assert isinstance(html, EmailMessage)
        for attachment in shown:
            maintype, _, subtype = attachment.content_type.lower().partition("/")
            html.add_related(attachment.content, maintype=maintype, subtype=subtype)
            *_, part = html.iter_parts()
            _describe(part, attachment)
    for attachment in draft.attachments:
        if attachment.content_id is None:
            maintype, _, subtype = attachment.content_type.lower().partition("/")
            message.add_attachment(attachment.content, maintype=maintype, subtype=subtype)
            *_, part = message.iter_attachments()
            _describe(part, attachment)


def _describe(part: Message, attachment: OutgoingAttachment) -> None:
    for name in ("Content-Disposition", "Content-Type", "Content-ID"):
        del part[name]
    name = attachment.name
    in_type = f'"{name}"' if is_plain(name) else f'"{encoded_words(name)}"'
    part["Content-Type"] = _Written(f"{attachment.content_type.lower()};\r\n name={in_type}")
    if attachment.content_id is not None:
        part["Content-ID"] = _Written(f"<{attachment.content_id}>")
    how = "attachment" if attachment.content_id is None else "inline"
    part["Content-Disposition"] = _Written(f"{how};\r\n {filename_parameter(name)}")


def _verify(raw: bytes, intended: Sequence[tuple[str, str]]) -> None:
    """Read the headers again: they must be the intended ones, the MIME headers, and no others."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    parsed = BytesHeaderParser(policy=compat32).parsebytes(head)
    found = [(name, str(value)) for name, value in parsed.raw_items()]
    added = [name.lower() for name, _ in found[len(intended) :]]
    line_ends = raw.count(b"\r\n")
    if (
        found[: len(intended)] != list(intended)
        or not _MIME_HEADERS.issuperset(added)
        or len(set(added)) != len(added)
        or parsed.defects
        or not raw.isascii()
        or raw.count(b"\r") != line_ends
        or raw.count(b"\n") != line_ends
    ):
        raise RuntimeError("the mail that was built is not the one that was meant")
