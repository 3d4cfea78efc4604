"""Runs of the sender within a test, and what they have done."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import time_machine
from sqlmodel import Session, col, select

from app import clock
from app.gateway import Gateway
from app.models import Connector, Event, Submission, SubmissionRecipient
from app.services.sending import outcomes
from app.services.sending.sender import Attempt, Sender, claim_next, limits_of
from tools.servers.smtp import SmtpServer

A, B, C = "a@example.com", "b@example.com", "c@example.com"


def run(sender: Sender) -> None:
    sender.send_due()
    assert sender.wait(180)


def run_later(sender: Sender, after: timedelta) -> None:
    """One run of the job, as if that much time had passed."""
    with time_machine.travel(clock.utc_now() + after, tick=True):
        run(sender)


def state(gateway: Gateway, submission_id: str) -> Submission:
    with gateway.db.reading() as session:
        return session.exec(select(Submission).where(col(Submission.id) == submission_id)).one()


def recipients(gateway: Gateway, submission_id: str) -> dict[str, str]:
    with gateway.db.reading() as session:
        return {each.address: each.status for each in recipient_rows(session, submission_id)}


def recipient_rows(session: Session, submission_id: str) -> Sequence[SubmissionRecipient]:
    return outcomes.recipients_of(session, submission_id)


def claimed_attempt(gateway: Gateway, connector: Connector) -> Attempt:
    """The next attempt; nobody has carried it out."""
    with gateway.db.unit_of_work() as session:
        claimed = claim_next(session, connector.id, limits_of(gateway))
    assert isinstance(claimed, Attempt)
    return claimed


def sending_of(gateway: Gateway, connector: Connector) -> Connector:
    """The connector as it is now."""
    with gateway.db.reading() as session:
        found = session.get(Connector, connector.id)
    assert found is not None
    return found


def events(gateway: Gateway) -> list[tuple[str, str]]:
    with gateway.db.reading() as session:
        rows = session.exec(select(Event).order_by(col(Event.position))).all()
    return [(row.type.removeprefix("com.aymine.imap."), row.data["status"]) for row in rows]


def behave(server: SmtpServer, behaviour: dict[str, Any]) -> None:
    for name, value in behaviour.items():
        setattr(server.behaviour, name, value)
