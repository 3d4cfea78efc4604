"""Binds a submission to the servers for which it was made. It is sent to no others, so somebody who changes the servers of a connector
does not get the mail that waits.

Waiting mail is released by a person who may decide this: for a personal mailbox, the owner, with their own token, who enters the
password or changes the servers; for a shared mailbox, anybody who enters the password.
"""

import hashlib

from sqlalchemy import update
from sqlmodel import Session, col

from app import clock
from app.models import Connector, Submission
from app.services.mailboxes.credentials import servers_of
from app.states import SubmissionStatus

UNFINISHED = (
    SubmissionStatus.QUEUED,
    SubmissionStatus.SENDING,
    SubmissionStatus.SENT,
    SubmissionStatus.PARTLY_SENT,
)
"""A condition on `Submission`: it is to be sent, or its copy is to be filed."""
MADE_FOR_OTHERS = "The connector's servers were changed after this was written; it waits until the owner enters the password."


def made_for(connector: Connector) -> str:
    """The servers that the connector has now, as one short text."""
    return hashlib.sha256(servers_of(connector).encode()).hexdigest()


def is_for(submission: Submission, connector: Connector) -> bool:
    """Whether the submission may go to the servers that the connector has now."""
    return submission.made_for is None or submission.made_for == made_for(connector)


def release(session: Session, connector: Connector) -> None:
    """Bind all waiting submissions to the present servers of the connector. Due ones are sent at once."""
    now, present = clock.utc_now(), made_for(connector)
    others = (
        col(Submission.connector_id) == connector.id,
        col(Submission.status).in_(UNFINISHED),
        col(Submission.made_for) != present,
    )
    has_waited = (col(Submission.send_at).is_(None)) | (col(Submission.send_at) <= now)
    session.execute(
        update(Submission)
        .where(*others, col(Submission.status) == SubmissionStatus.QUEUED, has_waited)
        .values(next_attempt_at=now),
        execution_options={"synchronize_session": False},
    )
    session.execute(
        update(Submission).where(*others).values(made_for=present),
        execution_options={"synchronize_session": False},
    )


def follow(session: Session, connector: Connector, before: str) -> None:
    """Bind submissions for the previous servers to the present ones. For a change that keeps the password, so the servers are the same."""
    session.execute(
        update(Submission)
        .where(col(Submission.connector_id) == connector.id, col(Submission.made_for) == before)
        .values(made_for=made_for(connector)),
        execution_options={"synchronize_session": False},
    )
