"""What an answer takes from the mail that it answers: its subject, and the identifiers of its thread (RFC 5322 §3.6.4).

The reader gives an identifier one spelling, so that mails find each other. The program that wrote the mail knows only the
spelling that it used itself. So an answer returns the identifiers as they stand in the mail, octet by octet.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.mime.control_characters import has_controls
from app.mime.headers import split_fields
from app.mime.model import Defects
from app.mime.text import clean_line
from app.mime.written_headers import usable_msg_id

SUBJECT_MAX_CHARS = 900
HEADER_MAX_OCTETS = 512 * 1024

# "Re" in the languages of mail programs: as they write it, and as older ones wrote it.
_PREFIXES = (
    "re|r|aw|antw?|antwort|sv|svar|vs|vá|odp|odpověď|odpoveď|ynt|yanıt|res|resp|rif|rép|ats|atb|vast|odg|bls|balas"
    "|ref|απ|σχετ|отв|ответ|на|відп|відповідь|תשובה|השב|رد|ตอบ|trả lời|回复|回覆|答复|答覆|返信|답장|회신"
)
_IS_ANSWER = re.compile(
    rf"(?:{_PREFIXES})\.?(?:\^\d{{1,3}}|\[\d{{1,3}}\]|\(\d{{1,3}}\)|\*\d{{1,3}}|\d{{1,3}})?\s{{0,4}}[:：]",
    re.IGNORECASE,
)
_BRACKETED = re.compile(rb"<[^<>]++>")
_LINE_END = re.compile(rb"\r\n?|\n")
_WHITE_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Parent:
    """The identifiers of the answered mail, in the reader's spelling."""

    message_id_header: str | None
    in_reply_to: str | None
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class Thread:
    """The identifiers that stand in the answer."""

    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


def reply_subject(subject: str) -> str:
    """The subject of an answer: `Re:` in front, unless it begins with such a word in any language."""
    subject = clean_line(subject, SUBJECT_MAX_CHARS)
    if has_controls(subject):  # the controls were hidden in encoded words that the sender encoded twice
        subject = subject.replace("=?", "= ?").replace("\u2028", " ").replace("\u2029", " ")
    return subject if _IS_ANSWER.match(subject) else f"Re: {subject}".rstrip()


def thread_of(parent: Parent, source: bytes) -> Thread:
    """The thread of an answer to this mail. Identifiers that no header of ours can hold are left out.

    RFC 5322 §3.6.4: the parent's References, or without them its In-Reply-To, and then its Message-ID.
    """
    spelled = _as_spelled(source)
    before = parent.references or ([parent.in_reply_to] if parent.in_reply_to else [])
    usable = [usable_msg_id(spelled.get(each, each)) for each in before]
    last = parent.message_id_header
    own = usable_msg_id(spelled.get(last, last)) if last is not None else None
    return Thread(own, tuple(each for each in dict.fromkeys([*usable, own]) if each is not None))


def _as_spelled(source: bytes) -> dict[str, str]:
    """The identifiers as the mail spells them, by the reader's spelling."""
    head = _LINE_END.sub(b"\n", source[:HEADER_MAX_OCTETS]).lstrip(b"\n").partition(b"\n\n")[0]
    fields = split_fields(head, 0, len(head), Defects())
    spelled: dict[str, str] = {}
    for name in (b"message-id", b"in-reply-to", b"references"):
        for value in fields.get(name, ()):
            for found in _BRACKETED.findall(value.replace(b"\n", b"")):
                text = found.decode("ascii", "replace")
                spelled.setdefault(_WHITE_SPACE.sub("", text), text)
    return spelled
