"""The history of fetch cycles, and the command that runs one now."""

import contextlib
import time

from sqlalchemy import select
from sqlmodel import Session, col

from app.errors import CopyNotRemoved, CycleRunning, MailboxTaken, TooManyRequests, WrongState
from app.gateway import Gateway
from app.models import Connector, Cycle
from app.schemas.fields import ListQuery
from app.server_cooldown import server_name
from app.services import pages
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.services.fetching import fetch_cycle
from app.services.pages import Slice
from app.states import ConnectorStatus, CycleOutcome

NOT_FETCHING = {
    ConnectorStatus.AWAITING_CREDENTIALS: "The connector has no credentials yet, so it does not fetch: enter the credentials.",
    ConnectorStatus.AWAITING_CONFIRMATION: (
        "More than 100 mails wait in the source folder, so the connector does not fetch until you say which of them to"
        " take: set first_fetch to all, none or a start date."
    ),
    ConnectorStatus.PAUSED: "The connector is paused, so it does not fetch until it is resumed.",
    ConnectorStatus.STOPPED: "The mail server refused the login twice, so the connector does not fetch: enter the credentials"
    " again, or resume.",
}
"""For each status: why there is no cycle, and what to do."""
NOT_REMOVED = (
    "The mail server copies mail to the processed folder and does not remove it from the source folder, so the"
    " connector does not fetch: give the account the right to delete mail there, then resume."
)
TAKEN = (
    "Another connector has logged in to this mailbox and fetches from this folder, so the connector does not fetch: delete"
    " one of the two, then resume."
)
STOPPED_BY = {CopyNotRemoved.code: NOT_REMOVED, MailboxTaken.code: TAKEN}
WAIT_S = 60.0
LOOK_EVERY_S = 0.1


def list_cycles(
    session: Session, principal: Principal, connector_id: str, query: ListQuery, *, after: str | None
) -> Slice[Cycle]:
    """The cycles of a connector, the latest first.

    Raises:
        ScopeMissing, NotFound, Forbidden, InvalidInput
    """
    rules.require(session, principal, Action.SEE_SETTINGS, connector_id)
    statement = select(Cycle).where(col(Cycle.connector_id) == connector_id)
    return pages.entities(
        session, statement, col(Cycle.id), after=after, limit=query.limit, latest_first=True
    )


def fetch_now(gateway: Gateway, principal: Principal, connector_id: str) -> Cycle:
    """Run a cycle now, even during a back-off. Returns it when it has ended and its messages are readable.

    If a cycle is already running, wait for it, and then run another, which takes the mail that has come meanwhile.

    Raises:
        ScopeMissing, NotFound, Forbidden
        WrongState: the connector is paused, stopped or awaiting something.
        TooManyRequests: too many fetches by this caller have failed just now.
        TooManyRefusedLogins
        Overloaded: the largest number of requests already waits for the mail server.
        CycleRunning: another cycle of this mailbox was still running after 60 s.
    """
    connector = _runnable(gateway, principal, connector_id)
    server = server_name(connector.imap_host, connector.imap_port, connector.imap_security)
    deadline = time.monotonic() + WAIT_S
    with gateway.server_requests.waiting_for(server):
        while True:
            cycle = _try_to_run(gateway, principal, connector)
            if cycle is not None:
                return cycle
            if gateway.server_requests.stopping.wait(LOOK_EVERY_S) or time.monotonic() >= deadline:
                raise CycleRunning
            connector = _runnable(gateway, principal, connector_id)


def _runnable(gateway: Gateway, principal: Principal, connector_id: str) -> Connector:
    with gateway.db.reading() as session:
        connector = rules.require(session, principal, Action.OPERATE, connector_id)
    if connector.status not in fetch_cycle.RUNNABLE:
        raise WrongState(_why_not(connector))
    return connector


def _try_to_run(gateway: Gateway, principal: Principal, connector: Connector) -> Cycle | None:
    # A failed fetch with settings that have never worked reveals as much as a test, so it is limited: nobody may scan ports
    # by fetching. Successes do not count, because a script may set up the mailboxes of a company and fetch from each.
    is_trial = not _has_worked(connector)
    if is_trial:
        gateway.failed_fetches.require_room(principal.name)
    stopping = gateway.server_requests.stopping.is_set
    cycle = fetch_cycle.run(gateway, connector.id, stopping=stopping)
    if cycle is not None and is_trial and cycle.outcome == CycleOutcome.FAILED:
        with contextlib.suppress(TooManyRequests):  # several requests at once have all been made already
            gateway.failed_fetches.count(principal.name)
    return cycle


def _why_not(connector: Connector) -> str:
    if connector.status == ConnectorStatus.STOPPED and connector.last_error_code in STOPPED_BY:
        return STOPPED_BY[connector.last_error_code]
    return NOT_FETCHING[connector.status]


def _has_worked(connector: Connector) -> bool:
    """Whether a fetch with the present settings has ever succeeded."""
    last = connector.last_success_at
    return connector.status == ConnectorStatus.ACTIVE and last is not None and last >= connector.updated_at
