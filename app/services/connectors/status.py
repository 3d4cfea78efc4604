"""The status of a connector, as it follows from its settings.

    awaiting_credentials    no password is stored
    awaiting_confirmation   a cycle found that many mails wait, and `first_fetch` does not say what to do with them
    active, failing         the gateway fetches; `failing` from a failed cycle until one succeeds
    stopped                 two refused logins, or another connector has the folder: until new credentials, another server, or
                            `resume`
    paused                  by command, until `resume`

`fetching.outcomes` changes the status after each cycle, `logins` after refused logins.
"""

from datetime import timedelta

from sqlmodel import Session

from app import clock
from app.events import EventType, connector_event
from app.models import Connector
from app.services import logins
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.mailboxes import credentials
from app.states import ConnectorStatus

SERVERS_CHANGED = "servers_changed"
"""The `code` of the event after somebody else changed the servers of a sealed connector."""


def settle(
    session: Session, connector: Connector, *, anew: bool = False, is_pointed_elsewhere: bool = False
) -> None:
    """Update the status after a change of settings. `anew`: forget earlier errors of the mailbox. `is_pointed_elsewhere`: somebody
    else changed the servers of a sealed connector; then an event tells its owner in any case."""
    before = connector.status
    has_credentials = credentials.exist(session, connector.id)
    if anew:
        logins.forget(connector)
        connector.failed_attempts = 0
        connector.last_error_code = connector.last_error_detail = connector.last_error_at = None
        connector.last_error_server_text = None
        connector.alert_text = connector.alert_at = None
    if not has_credentials:
        connector.logged_in_at = (
            None  # a connector without a password must not keep others out of the mailbox
        )
    if connector.paused:
        connector.status = ConnectorStatus.PAUSED
    elif not has_credentials or connector.awaits_owner_since is not None:
        connector.status = ConnectorStatus.AWAITING_CREDENTIALS
    elif anew or connector.status in {ConnectorStatus.PAUSED, ConnectorStatus.AWAITING_CREDENTIALS}:
        connector.status = ConnectorStatus.ACTIVE
    is_fetching = connector.status in {ConnectorStatus.ACTIVE, ConnectorStatus.FAILING}
    now = clock.utc_now()
    connector.next_fetch_at = now if is_fetching else None
    # By this time a running cycle finds out that it uses old settings: no two changes have the same time.
    connector.updated_at = max(now, connector.updated_at + timedelta(microseconds=1))
    session.flush()
    if is_pointed_elsewhere or (
        connector.status == ConnectorStatus.AWAITING_CREDENTIALS and before != connector.status
    ):
        recipients = recipients_of(session, connector)
        event = connector_event(
            EventType.CONNECTOR_CREDENTIALS_REQUIRED,
            connector_id=connector.id,
            recipients=recipients,
            code=SERVERS_CHANGED if is_pointed_elsewhere else None,
        )
        outbox.append(session, [event])
