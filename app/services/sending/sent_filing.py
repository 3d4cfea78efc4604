"""Decides who files the copy of a sent mail. Some providers do it themselves, and then a copy from the gateway would be a second one.

With `file_sent: auto` the gateway looks into the Sent folder before it files a copy, and stores for the connector what it found:

    not known yet                wait a moment, look, file if there is no copy; a minute later look whether there are two now
    the provider files           wait longer, look; look once more later before filing
    the provider does not file   file at once

If there are two copies, the gateway removes its own. After a change of servers it is not known again. `always` files at once, unless
there is a copy; `never` files nothing.
"""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import Session, col

from app import clock
from app.models import Connector, Submission
from app.states import FileSent, SentCopyState, SubmissionStatus

KNOWN_TO_FILE = frozenset({"smtp.gmail.com", "smtp.office365.com", "smtp-mail.outlook.com"})
"""Servers that are known to file within seconds. The gateway waits for them as long as for a provider that was seen to file."""
FIRST_LOOK = timedelta(seconds=10)
PROVIDER_TAKES = timedelta(seconds=60)
LOOKS = 2
"""How often the gateway looks for the copy of a provider that files, before it files one itself."""
SECOND_LOOK = PROVIDER_TAKES
"""How long after its own first copy the gateway looks whether the provider has filed one too."""


def first_look(connector: Connector) -> timedelta | None:
    """How long after the mail was sent the gateway looks for the copy or files it. None: never."""
    if connector.smtp_file_sent == FileSent.NEVER:
        return None
    if connector.smtp_file_sent == FileSent.ALWAYS or connector.provider_files_sent is False:
        return timedelta()
    if connector.provider_files_sent or connector.smtp_host in KNOWN_TO_FILE:
        return PROVIDER_TAKES
    return FIRST_LOOK


def leaves_it(connector: Connector, attempt: int) -> bool:
    """Whether the gateway still waits for the provider, if there is no copy at this attempt."""
    return (
        connector.smtp_file_sent == FileSent.AUTO
        and connector.provider_files_sent is True
        and attempt < LOOKS
    )


def learn(session: Session, connector: Connector, *, was_there: bool, attempt: int) -> bool:
    """Store whether the provider files. Only the first look counts, because a later one may find our own copy from before a crash.
    Returns whether to look again: the gateway has filed the first copy, and the provider may be slow."""
    if connector.smtp_file_sent != FileSent.AUTO:
        return False
    if was_there:
        if attempt == 1:
            connector.provider_files_sent = True
        return False
    is_first = connector.provider_files_sent is None
    connector.provider_files_sent = False
    if is_first:  # nothing else has to wait for a look
        session.execute(
            update(Submission)
            .where(
                col(Submission.connector_id) == connector.id,
                col(Submission.sent_copy) == SentCopyState.PENDING,
                col(Submission.sent_copy_attempts) == 0,
                col(Submission.status).in_((SubmissionStatus.SENT, SubmissionStatus.PARTLY_SENT)),
            )
            .values(next_attempt_at=clock.utc_now()),
            execution_options={"synchronize_session": False},
        )
    return is_first
