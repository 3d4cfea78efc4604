"""Keeps the content of submissions: the mail, its texts, its attachments."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from app.adapters import compression
from app.audit_actions import AuditAction
from app.errors import NotFound
from app.gateway import Gateway
from app.mime.compose import OutgoingAttachment, dated
from app.models import Submission, SubmissionBody
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal


@dataclass(frozen=True, slots=True)
class File:
    """The content of a file, and its name."""

    content: bytes
    content_type: str
    name: str
    inline: bool = False


def as_sent(source_zstd: bytes, dated_at: datetime | None) -> bytes:
    """The mail as it is sent. Its Date is the time of the first attempt (RFC 5322 §3.6.1) in every attempt."""
    raw = compression.decompress(source_zstd)
    return dated(raw, dated_at) if dated_at is not None else raw


def listed(raw: bytes, attachments: Sequence[OutgoingAttachment]) -> list[dict[str, Any]]:
    """The attachments of a built mail for `SubmissionBody`, in the order of the request.

    For each, the place of its base64 in the mail is stored, so that no parser is needed to take it out. Two attachments with the same
    content may have the same place.
    """
    found = []
    for n, each in enumerate(attachments, 1):
        encoded = base64.encodebytes(each.content).replace(b"\n", b"\r\n").rstrip()
        at = raw.find(b"\r\n\r\n" + encoded) + 4 if encoded else 0
        found.append(
            {
                "n": n,
                "name": each.name,
                "content_type": each.content_type.lower(),
                "size_octets": len(each.content),
                "content_id": each.content_id,
                "inline": each.content_id is not None,
                "at": at,
                "encoded_octets": len(encoded),
            }
        )
    return found


def get_source(gateway: Gateway, principal: Principal, submission_id: str) -> File:
    """The mail as it was sent or will be. The audit trail records who got it.

    Raises:
        ScopeMissing, NotFound
    """
    with gateway.db.reading() as session:
        source_zstd, dated_at, connector_id = _kept(session, principal, submission_id)
    record_reading(gateway, principal, AuditAction.SUBMISSION_SOURCE_READ, submission_id, connector_id)
    return File(as_sent(source_zstd, dated_at), "message/rfc822", f"submission-{submission_id}.eml")


def get_attachment(gateway: Gateway, principal: Principal, submission_id: str, n: int) -> File:
    """The content of the n-th attachment. The audit trail records who got it, as for messages.

    Raises:
        ScopeMissing, NotFound
    """
    with gateway.db.reading() as session:
        source_zstd, _, connector_id = _kept(session, principal, submission_id)
        body = session.get(SubmissionBody, submission_id)
    each = next((each for each in body.attachments if each["n"] == n), None) if body is not None else None
    if each is None:
        raise NotFound
    record_reading(
        gateway, principal, AuditAction.SUBMISSION_ATTACHMENT_READ, submission_id, connector_id, n=n
    )
    raw = compression.decompress(source_zstd)
    content = base64.b64decode(raw[each["at"] : each["at"] + each["encoded_octets"]])
    return File(content, each["content_type"], each["name"], each["inline"])


def record_reading(
    gateway: Gateway,
    principal: Principal,
    action: AuditAction,
    submission_id: str,
    connector_id: str,
    *,
    n: int | None = None,
) -> None:
    """Record that somebody reads content, by the same rule as for messages (`AUDIT_READS`). Call it before the content is
    sent, so that nothing is sent without a record."""
    if gateway.settings.audit_reads == "sources" and action is not AuditAction.SUBMISSION_SOURCE_READ:
        return
    changes = {"attachment": [None, n]} if n is not None else None
    with gateway.db.unit_of_work() as session:
        subject = f"submissions/{submission_id}"
        audit.record(session, principal, action, subject, connector_id=connector_id, changes=changes)


def _kept(session: Session, principal: Principal, submission_id: str) -> tuple[bytes, datetime | None, str]:
    statement = select(
        col(Submission.connector_id), col(Submission.source_zstd), col(Submission.dated_at)
    ).where(col(Submission.id) == submission_id)
    row = session.execute(statement).one_or_none()
    rules.require(session, principal, Action.READ_CONTENT, row[0] if row is not None else None)
    if row is None or row[1] is None:
        raise NotFound
    return row[1], row[2], row[0]
