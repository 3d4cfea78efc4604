"""Reads which recipients have not got a mail of ours, out of the report that a mail server sends back.

Most reports have a part for programs (RFC 3464, RFC 6533). Some are written for people alone: their forms are known to
flufl.bounce, which Mailman uses. It reads line by line with `email` and with many patterns, so it sees only a short text in
short lines, and only of mail that comes from a mail server. A report proves nothing, because anybody can write one.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from email.parser import BytesParser
from typing import Any

import idna
from flufl.bounce import all_failures

from app.mime.attachments import decode_part
from app.mime.headers import field_lines, first
from app.mime.message_ids import read_message_ids
from app.mime.model import Defects, DeliveryReport, Undelivered
from app.mime.sections import leaves
from app.mime.structure import Part
from app.mime.text import clean_line

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
RETURNED_TYPES = frozenset(
    {"message/rfc822", "message/global", "message/rfc822-headers", "message/global-headers"}
    | {"text/rfc822-headers", "text/rfc822"}
)
OTHER_REPORTS = frozenset(
    {"message/disposition-notification", "message/global-disposition-notification"}
    | {"message/feedback-report"}
)
STATUS_MAX_OCTETS = 512 * 1024
HEAD_MAX_OCTETS = 64 * 1024
RECIPIENTS_MAX = 1500
"""As many as a submission may have."""
ADDRESS_MAX_CHARS = 400
SERVER_TEXT_MAX_CHARS = 500
# flufl.bounce takes time that grows with the square of a line, and with the number of lines.
TEXT_MAX_CHARS = 16 * 1024
LINE_MAX_CHARS = 300
MESSAGE_IDS_MAX = 20

# Providers that give a mail another Message-ID keep ours in one of these.
_ID_FIELDS = (
    b"message-id",
    b"x-google-original-message-id",
    b"x-microsoft-original-message-id",
    b"x-original-message-id",
)
_ID_IN_TEXT = re.compile(
    r"^[ \t>|]{0,20}+Message-ID:[ \t]{0,20}+(?:\n[ \t]{1,20}+)?<([^<>\s]{1,998}+)>", re.I | re.M
)
_BLANK_LINE = re.compile(rb"\n[ \t]*+\n")
_COMMENT = re.compile(r"\([^()]*+\)")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 §4
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3
_CODES = re.compile(r"(?<![\d.])(?:([45]\d\d)[ -]{1,2}\(?#?)?([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?<!\d)([45]\d\d)(?=[ -]|$)")
_FROM_SERVER = re.compile(rb"\b(?:postmaster@|mailer-daemon|mail delivery|mail system)", re.I)
# flufl.bounce takes some of these for failures.
_DELAY = re.compile(
    r"warning message only|not need to resend|not yet been (?:delivered|sent)|could not send message for (?:the )?past"
    r"|transient non-?fatal|\b(?:will|shall) (?:still )?(?:be retried|retry|continue|keep|try again)"
    r"|\b(?:is|been|was|message|delivery|delivery status notification) \(?delay(?:ed)?\b|\bdelayed \d",
    re.I,
)
_SIMPLE_QUOTED = re.compile(r'"([a-z0-9!#$%&\'*+/=?^_`{|}~.-]{1,64}+)"')

_Group = Mapping[str, str]

logging.getLogger("flufl.bounce").disabled = True  # it logs each of its patterns, and there is no log here


def read_report(
    root: Part, text: str | None, envelope: Mapping[str, Any], *, with_free_text: bool
) -> DeliveryReport | None:
    """The report that a mail is, out of its parts, its text, and what was read of its header. None: it reports no failure, or
    does not say of which mail. Delays and successes are no failures.
    """
    statuses, returned = [], []
    for part in leaves(root):
        if part.media_type in OTHER_REPORTS:
            return None
        if part.media_type in STATUS_TYPES:
            statuses.append(part)
        elif part.media_type in RETURNED_TYPES and part is not root:
            returned.append(part)
    if statuses:
        failed = tuple(_listed(statuses))
    elif (
        with_free_text
        and text
        and (envelope["is_auto_reply"] or _FROM_SERVER.search(first(root.fields, b"from")))
    ):
        failed = _from_text(root, text)
    else:
        failed = ()
    if not failed:
        return None
    ids = _ids_of(returned) or _ids_in(text or "") or _answered(envelope)
    return DeliveryReport(tuple(ids[:MESSAGE_IDS_MAX]), failed) if ids else None


def comparable(address: str) -> str:
    """An address in the form in which two spellings of it are the same text: without needless quotes, in lower case, the
    domain in A-labels."""
    local, _, domain = address.strip().lower().rpartition("@")
    domain = domain.strip().rstrip(".")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError:
            return f"{local}@{domain}"
    quoted = _SIMPLE_QUOTED.fullmatch(local)
    return f"{quoted[1] if quoted else local}@{domain}"


def _listed(parts: list[Part]) -> Iterator[Undelivered]:
    """The failures in the parts for programs (RFC 3464 §2.3), each with its addresses."""
    count = 0
    for part in parts:
        for group in _groups(decode_part(part, Defects(), where="report").content[:STATUS_MAX_OCTETS]):
            addresses = _addresses(group)
            if addresses and _has_failed(group) and count < RECIPIENTS_MAX:
                count += 1
                yield _undelivered(addresses, group)


def _groups(content: bytes) -> Iterator[_Group]:
    """The groups of fields. A recipient that follows another without an empty line begins a group as well."""
    for block in _BLANK_LINE.split(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")):
        group: dict[str, str] = {}
        for match in field_lines(block, 0, len(block)):
            name = match[1].decode("ascii").lower()
            if name in group and name.endswith("-recipient"):
                yield group
                group = {}
            group.setdefault(name, " ".join(match[2][:2000].decode("utf-8", "replace").split()))
        yield group


def _addresses(group: _Group) -> tuple[str, ...]:
    """The addresses of a recipient, the one that we wrote to first, if the report knows it (RFC 3464 §2.3.1, §2.3.2)."""
    found: dict[str, None] = {}
    for name in ("original-recipient", "final-recipient"):
        value = group.get(name, "")
        kind, semicolon, address = value.partition(";")
        address = (address if semicolon else kind)[:ADDRESS_MAX_CHARS]
        address = _COMMENT.sub("", address).strip().removeprefix("<").removesuffix(">").strip()
        address = _UNITEXT.sub(lambda digits: chr(min(int(digits[1], 16), 0x10FFFF)), address)
        for spelling in (address, _XTEXT.sub(lambda digits: chr(int(digits[1], 16)), address)):
            if "@" in spelling:
                found.setdefault(comparable(clean_line(spelling, ADDRESS_MAX_CHARS)))
    return tuple(found)


def _has_failed(group: _Group) -> bool:
    """RFC 3464 §2.3.3; OpenSMTPD writes `error`. Without an action the status tells, or the server's answer."""
    if action := group.get("action", "").lower():
        return action.startswith(("fail", "error"))
    if status := group.get("status", ""):
        return status.startswith("5.")
    codes = _CODES.search(group.get("diagnostic-code", ""))
    return codes is not None and codes[2].startswith("5.")


def _undelivered(addresses: tuple[str, ...], group: _Group) -> Undelivered:
    kind, semicolon, said = group.get("diagnostic-code", "").partition(";")
    said = (said if semicolon else kind).strip()
    status = _CODES.search(group.get("status", "")) or _CODES.search(said)
    code = _CODE.search(said[:100])
    return Undelivered(
        addresses=addresses,
        enhanced_status=status[2] if status else None,
        code=int(code[1]) if code else None,
        server_text=clean_line(said, SERVER_TEXT_MAX_CHARS) or None,
    )


def _from_text(root: Part, text: str) -> tuple[Undelivered, ...]:
    """The failures in a report that is written for people."""
    copy = _ID_IN_TEXT.search(text)
    said = text[: min(copy.start() if copy else TEXT_MAX_CHARS, TEXT_MAX_CHARS)]
    subject = first(root.fields, b"subject")[: 10 * LINE_MAX_CHARS].decode("utf-8", "replace")
    if _DELAY.search(" ".join(f"{subject} {said}".split())):
        return ()
    try:
        _, permanent = all_failures(BytesParser().parsebytes(_short(root, text)))
    except Exception:  # what a pattern of the library fails on is no report that it knows
        return ()
    addresses = sorted({comparable(each.decode("ascii", "replace")) for each in permanent})
    codes = _CODES.search(said) if len(addresses) == 1 else None
    return tuple(
        Undelivered(
            addresses=(address,),
            enhanced_status=codes[2] if codes else None,
            code=int(codes[1]) if codes and codes[1] else None,
            server_text=None,
        )
        for address in addresses[:RECIPIENTS_MAX]
    )


def _short(root: Part, text: str) -> bytes:
    """A small mail with the text of the report and what the library looks at in its header."""
    kind = root.media_type.encode("ascii") if root.children else b""
    lines = [b"MIME-Version: 1.0"]
    for name in (b"from", b"subject", b"x-failed-recipients"):
        if value := first(root.fields, name):
            lines.append(name + b": " + b" ".join(value[: 10 * LINE_MAX_CHARS].split()))
    lines.append(b"Content-Type: " + (kind + b'; boundary="part"' if kind else b"text/plain; charset=utf-8"))
    if kind:  # some forms are known by their part with this description
        lines += [
            b"",
            b"--part",
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Description: notification",
        ]
    body = "\n".join(line[:LINE_MAX_CHARS] for line in text[:TEXT_MAX_CHARS].split("\n"))
    return b"\n".join([*lines, b"", body.encode("utf-8", "replace"), *([b"--part--", b""] if kind else [])])


def _ids_of(returned: list[Part]) -> list[str]:
    """The Message-IDs in the header of the mail that came back."""
    for part in returned:
        content = decode_part(part, Defects(), where="report").content[:HEAD_MAX_OCTETS].lstrip()
        head = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")[0]
        found = [
            message_id
            for match in field_lines(head, 0, len(head))
            if match[1].lower() in _ID_FIELDS
            for message_id in read_message_ids(match[2][:HEAD_MAX_OCTETS], Defects(), where="report")
        ]
        if found:
            return found
    return []


def _ids_in(text: str) -> list[str]:
    """The Message-ID in a copy of the mail within the text. Copies inside the copy come later."""
    found = _ID_IN_TEXT.search(text)
    return [f"<{found[1]}>"] if found else []


def _answered(envelope: Mapping[str, Any]) -> list[str]:
    """The mails that the report answers, the nearest first."""
    named = [envelope["in_reply_to"], *reversed(envelope["references"])]
    return [each for each in dict.fromkeys(named) if each]
