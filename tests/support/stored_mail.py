"""Connectors and messages in the database, as the fetch cycle would have left them."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from app import clock
from app.adapters import compression
from app.events import EventType, message_event
from app.gateway import Gateway
from app.ids import new_id
from app.mime.parse import parse_mail
from app.models import Connector, GroupBinding, KeyGrant, Message, ServerMessage
from app.services.access.audit import NamedActor
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.messages import arrivals
from app.states import MoveState

_uids = itertools.count(1)

TESTER = NamedActor("user:tester")
"""The actor for everything that a test does by itself."""


def mail(subject: str = "Order", *lines: str, text: str = "Hello") -> bytes:
    """A small mail; `lines` are further header lines."""
    header = [f"Subject: {subject}", "From: Jana <jana@example.com>", "To: info@firma.cz", *lines]
    if not any(line.lower().startswith("content-type:") for line in lines):
        header.append("Content-Type: text/plain; charset=utf-8")
    return "\r\n".join([*header, "", text, ""]).encode()


def with_attachment(name_header: str, content_type: str = "application/pdf", *lines: str) -> bytes:
    """A mail with one attachment, whose Content-Disposition is `name_header`."""
    part = [
        f"Content-Type: {content_type}",
        f"Content-Disposition: {name_header}",
        *lines,
        "",
        "content of it",
    ]
    body = ["--b", "Content-Type: text/plain", "", "see there", "--b", *part, "--b--"]
    return mail("File", 'Content-Type: multipart/mixed; boundary="b"', text="\r\n".join(body))


def connector(
    gateway: Gateway,
    *,
    owner: str | None = None,
    groups: Sequence[str] = (),
    key_ids: Sequence[str] = (),
    **settings: Any,
) -> Connector:
    """A stored connector: personal if an owner is given, otherwise shared and bound to the groups."""
    now = clock.utc_now()
    connector_id = new_id()
    row = Connector(
        **{
            "id": connector_id,
            "name": "A mailbox",
            "kind": "personal" if owner else "shared",
            "owner": owner,
            "email_address": "info@firma.cz",
            "imap_host": f"{connector_id}.example",
            "imap_port": 993,
            "imap_security": "tls",
            "imap_username": "info",
            "source_folder": "INBOX",
            "processed_folder": "\\Trash",
            "poll_interval_s": 60,
            "status": "active",
            "created_at": now,
            "updated_at": now,
            **settings,
        }
    )
    with gateway.db.unit_of_work() as session:
        session.add(row)
        session.flush()
        session.add_all(
            GroupBinding(id=new_id(), connector_id=row.id, group=group, created_at=now) for group in groups
        )
        session.add_all(
            KeyGrant(api_key_id=key_id, connector_id=row.id, granted_at=now) for key_id in key_ids
        )
    return row


def store(
    gateway: Gateway, at: Connector, *raws: bytes, move_state: MoveState = MoveState.MOVED
) -> list[str]:
    """Store mails in one transaction; the ids of their messages."""
    with gateway.db.unit_of_work() as session:
        return store_in(session, at, raws or (mail(),), move_state=move_state)


def store_in(
    session: Session, at: Connector, raws: Sequence[bytes], *, move_state: MoveState = MoveState.MOVED
) -> list[str]:
    """Store mails in the caller's transaction."""
    now = clock.utc_now()
    ids = [new_id() for _ in raws]
    recipients = recipients_of(session, at)
    events = [
        message_event(
            EventType.MESSAGE_STORED, connector_id=at.id, message_id=each, notify=True, recipients=recipients
        )
        for each in ids
    ]
    parsed = [parse_mail(raw) for raw in raws]
    positions = outbox.append(session, events)
    stored = arrivals.add_all(
        session,
        connector=at,
        incoming=[
            arrivals.Incoming(
                id=message_id,
                parsed=read,
                source_zstd=compression.compress(raw),
                sha256=hashlib.sha256(raw).hexdigest(),
                size_octets=len(raw),
                folder=at.source_folder,
                uid=next(_uids),
                uidvalidity=1,
                internal_date=now,
                position=position,
                stored_at=now,
            )
            for message_id, raw, read, position in zip(ids, raws, parsed, positions, strict=True)
        ],
    )
    session.add_all(_ledger_row(message, move_state) for message in stored)
    return ids


def _ledger_row(message: Message, move_state: MoveState) -> ServerMessage:
    return ServerMessage(
        id=new_id(),
        connector_id=message.connector_id,
        folder=message.folder,
        uidvalidity=message.uidvalidity,
        uid=message.uid,
        message_id=message.id,
        sha256=message.sha256,
        move_state=move_state,
    )
