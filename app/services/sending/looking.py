"""Finds out the outcome of an uncertain mail: if the server files sent mail itself and has accepted the mail, it is in Sent.

The gateway files its own copy only after a mail was sent. So our Message-ID in Sent proves that the server has accepted the mail,
unless an earlier attempt has reached somebody. If a process died during the attempt, nobody knows which recipients the server had
accepted. Then the gateway looks only for a mail to one recipient. It looks at once, and a few more times during the next hour and
a half. A mail that is not found stays uncertain. A report may still arrive (`bounces`). The gateway sends the mail again only by
command.
"""

from dataclasses import dataclass

import structlog
from sqlmodel import Session, col

from app import clock
from app.adapters import imap
from app.adapters.imap import ImapSession
from app.errors import GatewayError, MailServerError, SecretUnreadable, TooManyRefusedLogins
from app.gateway import Gateway
from app.models import Submission
from app.services.mailboxes import credentials
from app.services.mailboxes.credentials import StoredSecret
from app.services.sending import answering, bindings, outcomes, sent_copies
from app.services.sending.kept import Kept
from app.states import RecipientStatus, SentCopyState, SubmissionStatus

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """A claimed look, with everything that is needed without the database."""

    submission_id: str
    number: int
    connector_id: str
    server: imap.ServerAddress
    secret: StoredSecret
    message_id_header: str


def claim(session: Session, submission_id: str) -> Look | None:
    """The look for an uncertain mail. None: nobody can look, and the work on it has ended."""
    statement = outcomes.without_source().where(col(Submission.id) == submission_id)
    submission: Submission = session.execute(statement).scalar_one()
    found = credentials.with_settings(session, submission.connector_id)
    connector, credential = found or (None, None)
    is_over = submission.sent_copy_attempts >= sent_copies.MAX_ATTEMPTS  # the last one never ended
    if is_over or connector is None or credential is None or connector.awaits_owner_since is not None:
        submission.next_attempt_at = None
        return None
    if not bindings.is_for(
        submission, connector
    ):  # the folder is on a server for which the submission was not made
        submission.next_attempt_at = None
        return None
    submission.sent_copy_attempts += 1
    return Look(
        submission_id=submission.id,
        number=submission.sent_copy_attempts,
        connector_id=connector.id,
        server=imap.ServerAddress(
            connector.imap_host, connector.imap_port, connector.imap_security, connector.imap_username
        ),
        secret=credentials.stored(session, connector, credential),
        message_id_header=submission.message_id_header,
    )


def carry_out(gateway: Gateway, look: Look, kept: Kept) -> None:
    """Look for the mail in Sent, and record the result."""
    is_found = False

    def work(mailbox: ImapSession) -> None:
        nonlocal is_found
        is_found = sent_copies.is_filed(mailbox, look.message_id_header)

    error: GatewayError | None = None
    try:
        kept.in_mailbox(look.server, look.secret, work)
    except (MailServerError, SecretUnreadable, TooManyRefusedLogins) as exc:
        error = exc
    log.info(
        "uncertain_mail_looked_for",
        submission_id=look.submission_id,
        connector_id=look.connector_id,
        found=is_found,
        error=error.code if error is not None else None,
    )
    with gateway.db.unit_of_work() as session:
        _record(session, look, is_found=is_found)
    if is_found:
        answering.mark_processed(gateway, look.submission_id)


def _record(session: Session, look: Look, *, is_found: bool) -> None:
    statement = outcomes.without_source().where(
        col(Submission.id) == look.submission_id,
        col(Submission.status) == SubmissionStatus.UNCERTAIN,
        col(Submission.sent_copy_attempts) == look.number,
    )
    submission: Submission | None = session.execute(statement.with_for_update()).scalar_one_or_none()
    if submission is None:  # it was deleted or sent again, or a report has come
        return
    if not is_found:
        is_last = look.number >= sent_copies.MAX_ATTEMPTS
        delay = sent_copies.RETRIES.after(look.number)
        submission.next_attempt_at = None if is_last else clock.utc_now() + delay
        return
    recipients = outcomes.recipients_of(session, submission.id)
    for recipient in recipients:
        if recipient.status == RecipientStatus.UNCERTAIN:
            recipient.status, recipient.detail = RecipientStatus.SENT, None
    if outcomes.status_of(recipients) == SubmissionStatus.SENT:
        outcomes.record_error(submission, None)
    outcomes.conclude(session, submission, recipients)
    submission.sent_copy, submission.next_attempt_at = SentCopyState.FILED, None
