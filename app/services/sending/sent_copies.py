"""The copy of a sent mail in the mailbox's Sent folder.

It shows the recipients in Bcc, as the copies of mail programs do. The gateway first searches the folder for our Message-ID,
for two reasons: some servers file sent mail themselves (`sent_filing`), and a crash may happen after the copy is filed and
before this is recorded. The outcome of the copy never changes the outcome of the mail.
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
from app.mime.compose import with_bcc
from app.mime.entered_addresses import parse_mailbox
from app.models import Connector, Submission, SubmissionBody
from app.services.mailboxes import credentials, folders
from app.services.mailboxes.credentials import StoredSecret
from app.services.sending import answering, bindings, sent_filing
from app.services.sending.contents import as_sent
from app.services.sending.kept import Kept
from app.states import FileSent, SentCopyState

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
    attempt: int
    is_left_to_provider: bool
    """Whether the gateway files nothing this time, even if there is no copy yet."""
    is_filed: bool
    """Whether the gateway has filed it before. Then it only looks whether the provider has filed another copy."""
    marks_processed: bool


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
        _end(
            submission, SentCopyState.FAILED
        )  # the folder is on a server for which the submission was not made
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
        attempt=submission.sent_copy_attempts,
        is_filed=submission.sent_copy == SentCopyState.FILED,
        is_left_to_provider=sent_filing.leaves_it(connector, submission.sent_copy_attempts),
        marks_processed=submission.marks_processed,
    )


def file(gateway: Gateway, copy: Copy, kept: Kept) -> None:
    """File a claimed copy, and record the outcome."""
    if copy.marks_processed:  # the process died after the mail was sent
        answering.mark_processed(gateway, copy.submission_id)
    error: GatewayError | None = None
    found: list[int] = []
    try:
        kept.in_mailbox(copy.server, copy.secret, lambda mailbox: found.append(_file_once(mailbox, copy)))
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
        connector = session.get(Connector, copy.connector_id, with_for_update=True)
        submission = session.get(Submission, copy.submission_id, with_for_update=True)
        if submission is None or connector is None:
            return
        if error is None:
            _record(session, connector, submission, copy, found[-1])
        elif error.retryable and submission.sent_copy_attempts < MAX_ATTEMPTS and not copy.is_filed:
            submission.next_attempt_at = clock.utc_now() + RETRIES.after(submission.sent_copy_attempts)
        else:
            _end(submission, SentCopyState.FAILED)


def _record(
    session: Session, connector: Connector, submission: Submission, copy: Copy, number_found: int
) -> None:
    """Record what was found in the folder, and whether the provider files sent mail."""
    now = clock.utc_now()
    if copy.is_filed:
        if number_found > 1 and connector.smtp_file_sent == FileSent.AUTO:
            connector.provider_files_sent = True
        _end(submission, SentCopyState.FILED)
        return
    if copy.is_left_to_provider and not number_found:
        submission.next_attempt_at = now + RETRIES.after(submission.sent_copy_attempts)
        return
    _end(submission, SentCopyState.FILED)
    session.flush()
    if sent_filing.learn(session, connector, was_there=number_found > 0, attempt=copy.attempt):
        submission.next_attempt_at = now + sent_filing.SECOND_LOOK


def _file_once(server: ImapSession, copy: Copy) -> int:
    """Make sure that there is one copy. Returns how many there were."""
    folder = _folder(server)
    if folder is None:
        folder = server.personal_prefix() + folders.DEFAULT_NAMES[folders.SENT]
        server.create_folder(folder)
    server.select(folder)
    uids = server.search_header("Message-ID", copy.message_id_header)
    raw = as_sent(copy.source_zstd, copy.dated_at)
    raw = with_bcc(raw, [parse_mailbox(each, "/bcc") for each in copy.bcc])
    if copy.is_filed and len(uids) > 1:
        _take_away_ours(server, uids, raw)
    elif not uids and not copy.is_left_to_provider and not copy.is_filed:
        server.append(folder, raw, flags=["\\Seen"], internal_date=copy.sent_at)
    return len(uids)


def _take_away_ours(server: ImapSession, uids: Sequence[int], raw: bytes) -> None:
    """Remove our copy if there is also one from the provider. Only our copy may be removed, so this needs UIDPLUS (RFC 4315)."""
    ours = [mail.uid for mail in server.fetch_mails(uids) if mail.raw == raw][:1]
    if ours and server.can_expunge_uids:
        server.flag_deleted(ours)
        server.expunge_uids(ours)


def is_filed(server: ImapSession, message_id_header: str) -> bool:
    """Whether the Sent folder holds a mail with this Message-ID."""
    folder = _folder(server)
    if folder is None:
        return False
    server.select(folder)
    return bool(server.search_header("Message-ID", message_id_header))


def _folder(server: ImapSession) -> str | None:
    found = folders.find_special(server.list_folders(), folders.SENT)
    return found.name if found is not None else None


def _end(submission: Submission, state: SentCopyState) -> None:
    if (
        submission.sent_copy != SentCopyState.FILED
    ):  # a filed copy stays `filed` if only the second look fails
        submission.sent_copy = state
    submission.next_attempt_at = None
