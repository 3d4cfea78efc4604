"""Builds the bytes of a mail from what a caller wants to send (RFC 5322, MIME, RFC 2047, RFC 2231).

No text from a caller reaches a header unchanged. Control characters are refused in the value, and in the text of encoded
words in it: Python up to 3.12 decodes `=?UTF-8?Q?=0A?=Bcc: a@b` while it folds, and writes the line break into the
header. Addresses are taken apart and rebuilt. This module then encodes and folds every value itself, because the folding
of `email` differs between releases (3.11 loses the quotes around a comma in a long display name). The finished header is
read again and compared with what was meant.

The result is 7-bit: no server on the way needs an extension for it.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy, compat32
from email.utils import format_datetime

import idna

from app.errors import FieldFault, InvalidInput
from app.mime.file_names import filename_parameter, is_plain

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bBqQ])\?(.*?)\?=")
_MAX_DECODING_ROUNDS = 5
_Q_OCTET = re.compile(rb"=([0-9A-Fa-f]{2})")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")
# RFC 5321 §4.1.2: Dot-string, or Quoted-string. Dots in unusual places need quotes; NTT docomo gave out such addresses.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ODD_DOTS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
# Without characters that a careless server could mistake for the end of the path: quotes, backslashes, angle brackets.
_QUOTED_LOCAL_PART = re.compile(r'"[ !#-;=?-\[\]-~]+"')
_DOMAIN = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*"
)
# With what RFC 5322 does not allow and programs write: spaces, odd characters, up to a whole line.
_MSG_ID = re.compile(r"<[!-;=?-~](?:[ !-;=?-~]{0,992}[!-;=?-~])?>")
_CONTENT_ID = re.compile(r"[!#-'*+\--;=?-~]{1,200}")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")

_LINE_CHARS = 66  # beside the longest name of a header of ours, a line stays below RFC 5322's 78
_WORD_OCTETS = 36
_LONGEST_LINE = 998  # RFC 5322 §2.1.1
_MAX_REFERENCES = 20
_MIME_HEADERS = frozenset({"mime-version", "content-type", "content-transfer-encoding"})


@dataclass(frozen=True)
class Mailbox:
    """A rebuilt address: ASCII, the domain as A-labels in lower case; the name is any text without controls."""

    address: str
    name: str | None = None


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
    return b"".join([first, line_end, f"Bcc: {_addresses(bcc)}".encode(), line_end, rest])


def parse_mailbox(text: str, pointer: str) -> Mailbox:
    """Read `addr` or `Name <addr>`.

    Raises:
        InvalidInput: with `pointer`.
    """
    refuse_controls(text, pointer)
    text = text.strip()
    if not text.endswith(">"):
        return Mailbox(rebuilt_address(text, pointer))
    name, opened, address = text[:-1].rpartition("<")
    name = name.strip()
    if _QUOTED.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    # "a@b.cz, Jan <c@d.cz>" is two addresses, and must not become one address with a strange name.
    elif not opened or re.search(r"[<>]", name) or ("@" in name and re.search(r"[,;]", name)):
        raise InvalidInput(FieldFault(pointer, "must be one address: `addr` or `Name <addr>`"))
    return Mailbox(rebuilt_address(address, pointer), name or None)


def rebuilt_address(address: str, pointer: str) -> str:
    """An address in its form for SMTP and headers, with the domain in A-labels (RFC 5890) and lower case.

    Raises:
        InvalidInput: with `pointer`.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at:
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if not local.isascii():
        raise InvalidInput(FieldFault(pointer, "must have only ASCII characters before the @"))
    if not _LOCAL_PART.fullmatch(local) and _ODD_DOTS.fullmatch(local):
        local = f'"{local}"'
    elif not _LOCAL_PART.fullmatch(local) and not _QUOTED_LOCAL_PART.fullmatch(local):
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if len(local) > 64:
        raise InvalidInput(FieldFault(pointer, "must be an e-mail address"))
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError as exc:
            raise InvalidInput(FieldFault(pointer, "must have a valid domain")) from exc
    if not _DOMAIN.fullmatch(domain) or len(local) + 1 + len(domain) > 254:
        raise InvalidInput(FieldFault(pointer, "must have a valid domain"))
    return f"{local}@{domain.lower()}"


def refuse_controls(value: str, pointer: str) -> None:
    """Refuse a header value that contains a control character, also inside encoded words.

    Raises:
        InvalidInput: with `pointer`.
    """
    if not _is_unicode(value):
        raise InvalidInput(FieldFault(pointer, "must be valid Unicode"))
    if has_controls(value):
        raise InvalidInput(FieldFault(pointer, "must not contain control characters, encoded or not"))


def has_controls(value: str) -> bool:
    """Whether the value contains a control character or line separator, at any depth of encoded words."""
    for _ in range(_MAX_DECODING_ROUNDS):
        if _CONTROLS.search(value):
            return True
        words = [_decoded(*match) for match in _ENCODED_WORD.findall(value)]
        if any(any(octet < 0x20 or octet == 0x7F for octet in octets) for octets, _ in words):
            return True
        replacements = iter(text for _, text in words)
        decoded = _ENCODED_WORD.sub(lambda _match: next(replacements), value)  # noqa: B023 - used at once
        if decoded == value:
            return False
        value = decoded
    return True  # nobody nests them so deep without bad intent


def usable_msg_id(value: str | None) -> str | None:
    """A Message-ID from a received mail, if a header of ours can hold it. A space in it stays: its mailer looks for it so."""
    if value is None or not _MSG_ID.fullmatch(value) or has_controls(value):
        return None
    return value


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
        if text is not None and ("\0" in text or not _is_unicode(text)):
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
    yield "From", _addresses([draft.sender])
    if draft.to:
        yield "To", _addresses(draft.to)
    if draft.cc:
        yield "Cc", _addresses(draft.cc)
    if draft.reply_to:
        yield "Reply-To", _addresses(draft.reply_to)
    if draft.subject.strip():
        yield "Subject", _unstructured(draft.subject.strip())
    yield "Message-ID", _msg_id(draft.message_id_header)
    if draft.in_reply_to is not None:
        yield "In-Reply-To", _folded("In-Reply-To", [_msg_id(draft.in_reply_to)])
    references = [_msg_id(reference) for reference in draft.references]
    if len(references) > _MAX_REFERENCES:  # RFC 5537 §3.4.4: the first and the last ones matter
        references = references[:1] + references[1 - _MAX_REFERENCES :]
    if references:
        yield "References", _folded("References", references)
    if draft.auto_submitted is not None:
        yield "Auto-Submitted", draft.auto_submitted


def _folded(name: str, words: Sequence[str]) -> str:
    """Each word on a line of its own, the first behind the name of the header if there is room."""
    is_long = len(name) + 2 + len(words[0]) > _LONGEST_LINE
    return "\r\n ".join(["", *words] if is_long else words)


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
    in_type = f'"{name}"' if is_plain(name) else f'"{_encoded_words(name)}"'
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


def _addresses(mailboxes: Sequence[Mailbox]) -> str:
    return ",\r\n ".join(_mailbox(mailbox) for mailbox in mailboxes)


def _mailbox(mailbox: Mailbox) -> str:
    if mailbox.name is None or not mailbox.name.strip():
        return mailbox.address
    name = mailbox.name.strip()
    if _PLAIN_NAME.fullmatch(name) and len(name) < _LINE_CHARS:
        phrase = name
    elif name.isascii() and "=?" not in name and len(name) < _LINE_CHARS:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = _encoded_words(name)
    fold = "\r\n" if len(phrase) + len(mailbox.address) > _LINE_CHARS else ""
    return f"{phrase}{fold} <{mailbox.address}>"


def _unstructured(value: str) -> str:
    """The text unchanged if it is ASCII, does not look like an encoded word, and can be folded at single spaces."""
    if not value.isascii() or "=?" in value:
        return _encoded_words(value)
    lines = [""]
    for word in re.split(r"(?<=[^ ])(?= [^ ])", value):
        if len(word) > _LINE_CHARS:
            return _encoded_words(value)
        if len(lines[-1]) + len(word) > _LINE_CHARS:
            lines.append("")
        lines[-1] += word
    return "\r\n".join(lines)


def _encoded_words(value: str) -> str:
    """Encoded words (RFC 2047 §2) of at most 75 characters. None ends inside a character (§5)."""
    words, octets = [], b""
    for character in value:
        encoded = character.encode()
        if len(octets) + len(encoded) > _WORD_OCTETS:
            words.append(octets)
            octets = b""
        octets += encoded
    words.append(octets)
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in words)


def _msg_id(value: str) -> str:
    if usable_msg_id(value) is None:
        raise ValueError("not a Message-ID")
    return value


def _decoded(charset: str, encoding: str, payload: str) -> tuple[bytes, str]:
    """The octets of an encoded word, and their text as far as it is known."""
    octets = payload.encode()
    if encoding in "qQ":
        octets = _Q_OCTET.sub(lambda match: bytes([int(match[1], 16)]), octets.replace(b"_", b" "))
    else:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", octets)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        octets = base64.b64decode(kept + b"=" * (-len(kept) % 4))
    try:
        return octets, octets.decode(charset.partition("*")[0], "replace")
    except (LookupError, ValueError):
        return octets, octets.decode("utf-8", "replace")


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
