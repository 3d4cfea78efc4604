"""Submissions: requests to send a mail. Callers create and list them here. `sender` does the rest.

    queued ──claim──▶ sending ──▶ sent | partly_sent | failed      (each recipient settled)
       ▲  └─▶ cancelled  │  └───▶ uncertain                       (nobody knows; sent again only by command)
       └──── deferred ───┘

The mail is built once, when the request arrives: every attempt sends the same bytes under the same Message-ID. The mail and the
content of the request are kept afterwards (`contents`). `ending` cancels, deletes and sends again.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from app import clock
from app.adapters import compression
from app.audit_actions import AuditAction
from app.errors import (
    AlreadyAnswered,
    FieldFault,
    IdempotencyMismatch,
    InvalidInput,
    TooLarge,
    WrongState,
)
from app.gateway import Gateway
from app.ids import conversation_of_root, new_id
from app.mime.compose import Draft, OutgoingAttachment, compose
from app.mime.control_characters import has_controls
from app.mime.entered_addresses import Mailbox, parse_mailbox, rebuilt_address
from app.mime.file_names import without_marks
from app.mime.text import clean_line
from app.models import (
    Connector,
    Credential,
    Submission,
    SubmissionBody,
    SubmissionRecipient,
)
from app.schemas.submissions import SubmissionAttachment, SubmissionCreate, SubmissionsQuery
from app.services import pages
from app.services.access import audit, rules
from app.services.access.rules import Action, Principal
from app.services.mailboxes import room
from app.services.pages import Slice
from app.services.sending import answering, bindings, contents, remains
from app.services.sending.ending import required
from app.services.sending.outcomes import without_source
from app.states import ConnectorKind, RecipientStatus, SubmissionStatus

SEND_AT_MAX = timedelta(days=366)
NAME_MAX_CHARS = 200
LATER_FIELDS = frozenset({"also", "from_", "mark_processed"})
RECIPIENT_FIELDS = ("to", "cc", "bcc")
_LINE_BREAKS = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class Detailed:
    """A submission with its recipients in the order in which they were given."""

    submission: Submission
    recipients: Sequence[SubmissionRecipient]
    body: SubmissionBody | None = None
    """The content of the request. None: in lists, or if it is not kept."""
    may_read: bool = False
    """Whether the caller may read the mailbox. Then they also see the content and the words of the mail server."""


def create(
    gateway: Gateway, principal: Principal, wanted: SubmissionCreate, *, idempotency_key: str | None = None
) -> Detailed:
    """Queue a mail. If the same caller repeats the key and the request, the answer is the first submission.

    Raises:
        ScopeMissing, NotFound, InvalidInput, TooLarge
        WrongState: the connector has no credentials.
        IdempotencyMismatch: the key was used with another request.
        IdempotencyKeySpent: the submission of this key was deleted.
        NoRoom: the connector keeps as much sent mail as one may, or the disk is nearly full.
        AlreadyAnswered: somebody has answered the message, and the request does not say `also`.
    """
    fingerprint = _fingerprint(wanted)
    with gateway.db.reading() as session:
        connector = _connector(session, principal, wanted.connector_id)
        earlier = _find_earlier(session, principal, idempotency_key, fingerprint)
        if earlier is not None:
            return earlier
        remains.require_unspent(session, principal.name, idempotency_key, fingerprint)
        _require_sendable(session, connector)
        answered = answering.answered(session, principal, connector, wanted)
    # To build a mail of 30 MB takes a second. So it is not inside the transaction, which on SQLite is the only writer.
    now = clock.utc_now()
    send_at = _checked_send_at(wanted.send_at, now)
    addressees = _addressees(wanted)
    sender = _sender(connector, wanted)
    draft = _draft(wanted, answered, sender, addressees, now)
    raw = compose(draft)
    if len(raw) > gateway.settings.max_message_octets:
        raise TooLarge("The mail would be larger than this gateway accepts.")
    source_zstd = compression.compress(raw)
    room.require_for_sending(gateway, connector.id, len(source_zstd))
    submission = Submission(
        id=new_id(),
        connector_id=connector.id,
        created_by=principal.name,
        idempotency_key=idempotency_key,
        request_sha256=fingerprint,
        made_for=bindings.made_for(connector),
        status=SubmissionStatus.QUEUED,
        message_id_header=draft.message_id_header,
        envelope_from=sender.address,
        subject=draft.subject,
        in_reply_to_message_id=wanted.in_reply_to,
        marks_processed=wanted.mark_processed,
        conversation_id=answered.conversation_id
        or conversation_of_root(connector.id, draft.message_id_header),
        source_zstd=source_zstd,
        send_at=send_at,
        next_attempt_at=max(send_at or now, now),
        created_at=now,
        updated_at=now,
    )
    recipients = _envelope_recipients(submission.id, addressees)
    body = SubmissionBody(
        submission_id=submission.id,
        to=[each.strip() for each in wanted.to],
        cc=[each.strip() for each in wanted.cc],
        bcc=[each.strip() for each in wanted.bcc],
        text=wanted.text,
        html=wanted.html,
        attachments=contents.listed(raw, draft.attachments),
    )
    try:
        with gateway.db.unit_of_work() as session:
            _connector(session, principal, wanted.connector_id)  # it may have been deleted meanwhile
            earlier = _earlier_answer(session, principal, wanted, idempotency_key, fingerprint)
            if earlier is not None:
                return earlier
            session.add(submission)
            session.flush()
            remains.require_unspent(
                session, principal.name, idempotency_key, fingerprint
            )  # deleted meanwhile
            session.add_all([*recipients, body])
            session.flush()
            changes = {"recipients": [None, len(recipients)]}
            audit.record(
                session,
                principal,
                AuditAction.SUBMISSION_CREATED,
                f"submissions/{submission.id}",
                connector_id=connector.id,
                changes=changes,
            )
            may_read = rules.allows(session, principal, Action.READ_CONTENT, connector.id)
    except IntegrityError:
        with gateway.db.reading() as session:  # the same key at the same time: the other request was first
            earlier = _find_earlier(session, principal, idempotency_key, fingerprint)
        if earlier is None:
            raise
        return earlier
    return Detailed(submission, recipients, body, may_read)


def list_submissions(
    session: Session, principal: Principal, query: SubmissionsQuery, *, after: str | None
) -> Slice[Detailed]:
    """The submissions of the connectors from which the caller may send, oldest first.

    Raises:
        ScopeMissing, NotFound, InvalidInput
    """
    visible = rules.visible_connector_ids(principal, Action.SEND)
    statement = without_source().where(col(Submission.connector_id).in_(visible))
    if query.connector_id is not None:
        _connector(session, principal, query.connector_id)
        statement = statement.where(col(Submission.connector_id) == query.connector_id)
    if query.status is not None:
        statement = statement.where(col(Submission.status) == query.status)
    found = pages.entities(session, statement, col(Submission.id), after=after, limit=query.limit)
    return replace(found, data=_detailed(session, principal, found.data))


def get_submission(session: Session, principal: Principal, submission_id: str) -> Detailed:
    """One submission.

    Raises:
        ScopeMissing, NotFound
    """
    return _with_body(session, principal, required(session, principal, submission_id))


def read(gateway: Gateway, principal: Principal, submission_id: str) -> Detailed:
    """One submission with its content. The audit trail records the reader, unless `AUDIT_READS` leaves it out, or the reader is the
    caller who created the submission.

    Raises:
        ScopeMissing, NotFound
    """
    with gateway.db.reading() as session:
        found = get_submission(session, principal, submission_id)
    submission = found.submission
    if found.may_read and found.body is not None and submission.created_by != principal.name:
        contents.record_reading(
            gateway, principal, AuditAction.SUBMISSION_READ, submission_id, submission.connector_id
        )
    return found


def _connector(session: Session, principal: Principal, connector_id: str) -> Connector:
    return rules.require(session, principal, Action.SEND, connector_id)


def _with_body(session: Session, principal: Principal, submission: Submission) -> Detailed:
    [found] = _detailed(session, principal, [submission])
    return replace(found, body=session.get(SubmissionBody, submission.id))


def _detailed(session: Session, principal: Principal, submissions: Sequence[Submission]) -> list[Detailed]:
    by_submission: dict[str, list[SubmissionRecipient]] = {submission.id: [] for submission in submissions}
    statement = select(SubmissionRecipient).where(col(SubmissionRecipient.submission_id).in_(by_submission))
    for recipient in session.execute(statement.order_by(col(SubmissionRecipient.id))).scalars():
        by_submission[recipient.submission_id].append(recipient)
    may_read = {
        connector_id: rules.allows(session, principal, Action.READ_CONTENT, connector_id)
        for connector_id in {submission.connector_id for submission in submissions}
    }
    return [
        Detailed(each, by_submission[each.id], may_read=may_read[each.connector_id]) for each in submissions
    ]


def _fingerprint(wanted: SubmissionCreate) -> str:
    """The hash of the request. The JSON is ASCII only, because the request may hold text that UTF-8 cannot encode."""
    # Fields of later versions count only if they are set, so that a request has the same hash before and after an upgrade.
    values = wanted.model_dump()
    values = {name: value for name, value in values.items() if value or name not in LATER_FIELDS}
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _find_earlier(
    session: Session, principal: Principal, idempotency_key: str | None, fingerprint: str
) -> Detailed | None:
    if idempotency_key is None:
        return None
    statement = without_source().where(
        col(Submission.created_by) == principal.name, col(Submission.idempotency_key) == idempotency_key
    )
    submission = session.execute(statement).scalar_one_or_none()
    if submission is None:
        return None
    if submission.request_sha256 != fingerprint:
        raise IdempotencyMismatch
    return _with_body(session, principal, submission)


def _earlier_answer(
    session: Session,
    principal: Principal,
    wanted: SubmissionCreate,
    idempotency_key: str | None,
    fingerprint: str,
) -> Detailed | None:
    """Refuse a second answer, unless the request says `also`. Returns the submission if the same request was made meanwhile."""
    if wanted.in_reply_to is None:
        return None
    try:
        exists = answering.require_none(session, wanted.in_reply_to, wanted=not wanted.also)
    except AlreadyAnswered:
        earlier = _find_earlier(session, principal, idempotency_key, fingerprint)
        if earlier is None:
            raise
        return earlier
    if not exists:
        raise InvalidInput(answering.NOT_A_MESSAGE)
    return None


def _require_sendable(session: Session, connector: Connector) -> None:
    if connector.smtp_host is None:
        fault = "has no smtp settings, so nothing can be sent from it"
        raise InvalidInput(FieldFault("/connector_id", fault))
    credential = select(col(Credential.connector_id)).where(col(Credential.connector_id) == connector.id)
    if session.execute(credential).first() is None:
        raise WrongState("This connector has no credentials yet.")


def _checked_send_at(send_at: datetime | None, now: datetime) -> datetime | None:
    if send_at is not None and not now - SEND_AT_MAX < send_at < now + SEND_AT_MAX:
        raise InvalidInput(FieldFault("/send_at", "must be within a year from now"))
    return send_at


def _addressees(wanted: SubmissionCreate) -> dict[str, list[Mailbox]]:
    """The parsed recipients by field. Reports all faults at once."""
    faults: list[FieldFault] = []
    parsed: dict[str, list[Mailbox]] = {}
    given = (("to", wanted.to), ("cc", wanted.cc), ("bcc", wanted.bcc), ("reply_to", wanted.reply_to))
    for field, texts in given:
        parsed[field] = []
        for position, text in enumerate(texts):
            try:
                parsed[field].append(parse_mailbox(text, f"/{field}/{position}"))
            except InvalidInput as exc:
                faults += exc.faults
    if faults:
        raise InvalidInput(*faults)
    if not any(parsed[field] for field in RECIPIENT_FIELDS):
        raise InvalidInput(FieldFault("/to", "at least one recipient is needed in to, cc or bcc"))
    return parsed


def _envelope_recipients(
    submission_id: str, addressees: dict[str, list[Mailbox]]
) -> list[SubmissionRecipient]:
    """Each address once. Upper and lower case do not matter, because no known provider has two mailboxes that differ only in case."""
    seen: dict[str, SubmissionRecipient] = {}
    for field in RECIPIENT_FIELDS:
        for mailbox in addressees[field]:
            row = SubmissionRecipient(
                submission_id=submission_id,
                address=mailbox.address,
                field=field,
                status=RecipientStatus.PENDING,
            )
            seen.setdefault(mailbox.address.lower(), row)
    return list(seen.values())


def _sender(connector: Connector, wanted: SubmissionCreate) -> Mailbox:
    """The address in `from` of the request, or that of the connector. Its name comes from the request, or is `from_name` of the
    connector. Without these, a shared mailbox sends with the connector's name, and a personal one without a name.

    Raises:
        InvalidInput: the address is not one of the connector.
    """
    address = rebuilt_address(connector.email_address, "/connector_id")
    name = wanted.from_name
    if wanted.from_ is not None:
        asked = parse_mailbox(wanted.from_, "/from")
        own = [address, *(rebuilt_address(alias, "/from") for alias in connector.aliases)]
        found = next((each for each in own if each.lower() == asked.address.lower()), None)
        if found is None:
            raise InvalidInput(FieldFault("/from", "must be the connector's address or one of its aliases"))
        address, name = found, name or asked.name
    if name is not None:
        return Mailbox(address, name)
    if connector.from_name is not None:
        return Mailbox(address, connector.from_name)
    name = clean_line(connector.name, NAME_MAX_CHARS) if connector.kind == ConnectorKind.SHARED else ""
    return Mailbox(address, name if name and not has_controls(name) else None)


def _draft(
    wanted: SubmissionCreate,
    answered: answering.Answered,
    sender: Mailbox,
    addressees: dict[str, list[Mailbox]],
    now: datetime,
) -> Draft:
    return Draft(
        sender=sender,
        message_id_header=f"<{secrets.token_hex(16)}@{sender.address.rpartition('@')[2]}>",
        date=now,
        to=addressees["to"],
        cc=addressees["cc"],
        reply_to=addressees["reply_to"],
        subject=wanted.subject.strip(" ") or answered.subject,
        text=wanted.text,
        html=wanted.html,
        attachments=_attachments(wanted.attachments),
        in_reply_to=answered.thread.in_reply_to,
        references=answered.thread.references,
        auto_submitted=wanted.auto_submitted,
    )


def _attachments(wanted: Sequence[SubmissionAttachment]) -> list[OutgoingAttachment]:
    attachments = []
    for position, attachment in enumerate(wanted):
        try:
            # RFC 2045 §6.8: line breaks do not count; `base64 FILE` and MIME libraries write them.
            content = base64.b64decode(attachment.content_base64.translate(_LINE_BREAKS), validate=True)
        except (binascii.Error, ValueError) as exc:
            fault = FieldFault(f"/attachments/{position}/content_base64", "must be base64 (RFC 4648 §4)")
            raise InvalidInput(fault) from exc
        content_id = attachment.content_id
        if content_id is not None:
            content_id = content_id.removeprefix("<").removesuffix(">")
        attachments.append(
            OutgoingAttachment(without_marks(attachment.name), attachment.content_type, content, content_id)
        )
    return attachments
