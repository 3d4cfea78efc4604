"""Conversations: mails belong together if they name each other's Message-IDs (RFC 5322 §3.6.4).

Message-IDs can be forged or used twice. So a conversation helps readers, but proves nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlmodel import Session, col

from app.ids import conversation_of_root, new_id
from app.mime.model import ParsedMail
from app.models import Message

ANCESTORS_MAX = 20
JOINED_MAX = 10_000
"""The largest number of answers that move to another conversation with a mail; more is an attack."""
IDS_IN_QUERY = 500


def ancestors_of(mail: ParsedMail) -> list[str]:
    """The Message-IDs that a mail answers, the nearest first."""
    nearest_first = (
        [mail.in_reply_to, *reversed(mail.references)] if mail.in_reply_to else mail.references[::-1]
    )
    return [header for header in dict.fromkeys(nearest_first) if header][:ANCESTORS_MAX]


def known_conversations(
    session: Session, connector_id: str, headers: Iterable[str], *, but: str | None = None
) -> dict[str, str]:
    """The conversations of the stored messages with these Message-IDs, by Message-ID, without one message."""
    wanted = set(headers)
    if not wanted:
        return {}
    statement = select(col(Message.message_id_header), col(Message.conversation_id)).where(
        col(Message.connector_id) == connector_id, col(Message.message_id_header).in_(wanted)
    )
    if but is not None:
        statement = statement.where(col(Message.id) != but)
    with session.no_autoflush:
        return {header: conversation for header, conversation in session.execute(statement) if header}


def conversation_of(mail: ParsedMail, connector_id: str, known: dict[str, str]) -> str:
    """The conversation of the nearest ancestor that is stored. If none is stored: a conversation made from the Message-ID of the
    root, so that all answers to a mail that is not stored here (for example, one sent elsewhere) share one."""
    for header in ancestors_of(mail):
        if header in known:
            return known[header]
    root = mail.references[0] if mail.references else mail.in_reply_to or mail.message_id_header
    return new_id() if root is None else conversation_of_root(connector_id, root)


@dataclass(frozen=True, slots=True)
class Threaded:
    """The parts of a stored message that matter for its conversation."""

    id: str
    connector_id: str
    conversation_id: str
    message_id_header: str | None
    in_reply_to: str | None
    references: tuple[str, ...]

    def is_named_by(self, mail: ParsedMail) -> bool:
        """Whether a new reading of the mail finds the same Message-IDs."""
        named = (self.message_id_header, self.in_reply_to, self.references)
        return named == (mail.message_id_header, mail.in_reply_to, mail.references)


@dataclass(frozen=True, slots=True)
class Joined:
    """The conversation of a message after it was read again, and the other messages that now join it."""

    conversation_id: str
    answer_ids: frozenset[str]


def join_again(session: Session, stored: Threaded, mail: ParsedMail) -> Joined:
    """The conversation of a stored message after a new reading, and the answers that were not in it before."""
    conversation_id = _conversation_again(session, stored, mail)
    header = mail.message_id_header
    if header is None or known_conversations(session, stored.connector_id, [header], but=stored.id):
        return Joined(
            conversation_id, frozenset()
        )  # if two messages have one Message-ID, the first keeps its answers
    return Joined(conversation_id, _answers(session, stored, header, conversation_id))


def _conversation_again(session: Session, stored: Threaded, mail: ParsedMail) -> str:
    ancestors = ancestors_of(mail)
    if not ancestors and mail.message_id_header is None:
        return stored.conversation_id
    if ancestors and (stored.in_reply_to, stored.references) == (mail.in_reply_to, mail.references):
        return stored.conversation_id  # perhaps the conversation of an ancestor that has been deleted
    known = known_conversations(session, stored.connector_id, ancestors, but=stored.id)
    return conversation_of(mail, stored.connector_id, known)


def _answers(session: Session, stored: Threaded, header: str, conversation_id: str) -> frozenset[str]:
    """The messages in other conversations that answer this one, and those that answer them.

    Answers that arrived before the Message-ID was known are in the conversation made from it, or name it.
    """
    elsewhere = (
        col(Message.connector_id) == stored.connector_id,
        col(Message.id) != stored.id,
        col(Message.conversation_id) != conversation_id,
    )
    found: dict[str, str | None] = {}
    waiting = [header]
    among = col(Message.conversation_id) == conversation_of_root(stored.connector_id, header)
    while len(found) < JOINED_MAX:
        statement = select(col(Message.id), col(Message.message_id_header)).where(*elsewhere, among)
        new = {each: named for each, named in session.execute(statement) if each not in found}
        found.update(new)
        waiting += [named for named in new.values() if named]
        asked, waiting = waiting[:IDS_IN_QUERY], waiting[IDS_IN_QUERY:]
        if not asked:
            break
        among = col(Message.in_reply_to).in_(asked)
    return frozenset(found)
