"""The copy of a sent mail in the mailbox's Sent folder.

It shows the recipients in Bcc, as the copies of mail programs do. The gateway first searches the folder for our Message-ID, for two reasons: some servers file sent mail themselves, and a
crash may happen after the copy is filed and before this is recorded. The outcome of the copy never changes the outcome of
the mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlmodel import Session

from app import clock
from app.adapters import imap
from app.adapters.imap import ImapSession
from app.backoff import Growing
from app.errors import GatewayError, MailServerError, SecretUnreadable, TooManyRefusedLogins
from app.gateway import Gateway
from app.mime.compose import parse_mailbox, with_bcc
from app.models import Submission, SubmissionBody
from app.services.mailboxes import credentials, folders
from app.services.mailboxes.credentials import StoredSecret
from app.services.sending import bindings
from app.services.sending.contents import as_sent
from app.services.sending.kept import Kept
from app.states import SentCopyState

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5
RETRIES = Growing(first_s=60, longest_s=24 * 3600, factor=4)


@dataclass(frozen=True, slots=True)
class Copy:
    """A claimed copy, with everything that is needed to file it without the database."""

    submission_id: str
    connector_id: str
    server: imap.ServerAddress
    secret: StoredSecret
    message_id_header: str
    sent_at: datetime
    source_zstd: bytes
    dated_at: datetime | None
    bcc: Sequence[str]


def claim(session: Session, submission_id: str) -> Copy | None:
    """The copy to file. None: nothing can be filed, and the work on this copy has ended."""
    submission = session.get(Submission, submission_id)
    if submission is None:
        return None
    found = credentials.with_settings(session, submission.connector_id)
    connector, credential = found or (None, None)
    is_over = submission.sent_copy_attempts >= MAX_ATTEMPTS  # the last one never ended
    if is_over or connector is None or credential is None or submission.source_zstd is None:
        _end(submission, SentCopyState.FAILED)
        return None
    if connector.awaits_owner_since is not None or not bindings.is_for(submission, connector):
        _end(submission, SentCopyState.FAILED)  # its folder is on a server that it was not made for
        return None
    submission.sent_copy_attempts += 1
    body = session.get(SubmissionBody, submission_id)
    return Copy(
        submission_id=submission_id,
        connector_id=connector.id,
        server=imap.ServerAddress(
            connector.imap_host, connector.imap_port, connector.imap_security, connector.imap_username
        ),
        secret=credentials.stored(session, connector, credential),
        message_id_header=submission.message_id_header,
        sent_at=submission.updated_at,
        source_zstd=submission.source_zstd,
        dated_at=submission.dated_at,
        bcc=body.bcc if body is not None else (),
    )


def file(gateway: Gateway, copy: Copy, kept: Kept) -> None:
    """File a claimed copy, and record the outcome."""
    error: GatewayError | None = None
    try:
        kept.in_mailbox(copy.server, copy.secret, lambda mailbox: _file_once(mailbox, copy))
    except (MailServerError, SecretUnreadable, TooManyRefusedLogins) as exc:
        error = exc
        log.info(
            "sent_copy_failed",
            submission_id=copy.submission_id,
            connector_id=copy.connector_id,
            error=exc.code,
            command=getattr(exc, "command", None),
        )
    with gateway.db.unit_of_work() as session:
        submission = session.get(Submission, copy.submission_id, with_for_update=True)
        if submission is None:
            return
        if error is None:
            _end(submission, SentCopyState.FILED)
        elif error.retryable and submission.sent_copy_attempts < MAX_ATTEMPTS:
            submission.next_attempt_at = clock.utc_now() + RETRIES.after(submission.sent_copy_attempts)
        else:
            _end(submission, SentCopyState.FAILED)


def _file_once(server: ImapSession, copy: Copy) -> None:
    found = folders.find_special(server.list_folders(), folders.SENT)
    if found is None:
        folder = server.personal_prefix() + folders.DEFAULT_NAMES[folders.SENT]
        server.create_folder(folder)
    else:
        folder = found.name
    server.select(folder)
    if server.search_header("Message-ID", copy.message_id_header):
        return
    raw = as_sent(copy.source_zstd, copy.dated_at)
    raw = with_bcc(raw, [parse_mailbox(each, "/bcc") for each in copy.bcc])
    server.append(folder, raw, flags=["\\Seen"], internal_date=copy.sent_at)


def _end(submission: Submission, state: SentCopyState) -> None:
    submission.sent_copy = state
    submission.next_attempt_at = None
