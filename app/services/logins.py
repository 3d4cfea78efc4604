"""Logins with a connector's stored password, and the consequences of refused ones.

Some servers lock an account at the third refused login. So the gateway stops after two refusals of one password. It does not
matter who tried: the sweep, a fetch by command, a test, the copy in Sent, or SMTP. IMAP and SMTP have separate counts,
because a successful login at one says nothing about the other. The two counts are added, because many servers count both
together.

    IMAP refused, then either refused       the connector is `stopped`: nothing logs in any more
    SMTP refused twice, IMAP accepted       only sending stops; queued mail waits
    SMTP refused, or failed at the login    sending waits for a while, then tries again

The number of logins with one password that run at the same time is never larger than the number that may still be refused
(`login_places`): two if none was refused yet, otherwise one. So a third login is never refused, even if several instances log in
at the same moment.

Several connectors may log in to one mailbox, one for each folder. If they have the same password, they share the places, and
a refusal of one counts for all of them. Over SMTP it counts for those that also name the same server for sending.

New credentials, other servers and `resume` reset all of this (`connectors.status`). A successful login over SMTP, for
example in a test, starts sending again. Refusals that have stopped only sending do not count against IMAP any more.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from sqlalchemy import select
from sqlmodel import Session, col

from app import clock
from app.adapters import imap
from app.adapters.imap import ConnectionPolicy, ImapSession, ServerAddress
from app.backoff import Growing
from app.errors import (
    ConnectionLost,
    GatewayError,
    LoginRefused,
    LoginWanted,
    MailServerError,
    MailServerTimeout,
    SendingLimitReached,
    SettingsChanged,
)
from app.events import EventType, connector_event
from app.gateway import Gateway
from app.models import Connector
from app.server_cooldown import server_name
from app.services.events import outbox
from app.services.events.recipients import recipients_of
from app.services.mailboxes import credentials, login_tries, sessions
from app.services.mailboxes.credentials import StoredSecret
from app.services.mailboxes.login_tries import Login
from app.states import ConnectorStatus, SendingStatus

log = structlog.get_logger(__name__)

MAX_REFUSED_LOGINS = 2
"""The limit for one password, over IMAP and SMTP together."""
SPENT = "The mail server has refused this password twice, so it is not tried again. Enter another one, or resume the connector."
PAST_LOGIN = frozenset({LoginWanted.code, SendingLimitReached.code})
"""Errors of an account that a login does not show. Only a mail that was sent shows that the error is over."""
WAITS = Growing(first_s=60, longest_s=1800)
"""The pauses between attempts to send after a failed login."""
STOPPABLE = frozenset(
    {ConnectorStatus.ACTIVE, ConnectorStatus.FAILING, ConnectorStatus.AWAITING_CONFIRMATION}
)


@contextlib.contextmanager
def opened(gateway: Gateway, connector: Connector) -> Iterator[ImapSession]:
    """A session that has logged in with the stored password. It ends with the block. The outcome of the login is recorded.

    Raises:
        SecretUnreadable, TooManyRefusedLogins
        SettingsChanged: settings or credentials have changed since this connector was read.
        MailServerError
    """
    present, secret = _present(gateway, connector)
    server = ServerAddress(present.imap_host, present.imap_port, present.imap_security, present.imap_username)
    name = server_name(present.imap_host, present.imap_port, present.imap_security)
    try:
        with logged_in(gateway, secret, server) as mailbox:
            gateway.server_cooldown.record_let_in(name)
            yield mailbox
    except LoginRefused as exc:
        if exc.was_tried:  # the server looked at the password
            gateway.server_cooldown.record_let_in(name)
        raise
    except MailServerError as exc:
        if exc.turned_away:
            gateway.server_cooldown.record_turned_away(name, present.imap_username)
        raise


def _present(gateway: Gateway, connector: Connector) -> tuple[Connector, StoredSecret]:
    """The present settings, and the password for them."""
    with gateway.db.reading() as session:
        found = credentials.with_settings(session, connector.id)
        if found is None or found[1] is None or found[0].updated_at != connector.updated_at:
            raise SettingsChanged
        return found[0], credentials.stored(session, found[0], found[1])


@contextlib.contextmanager
def logged_in(
    gateway: Gateway, secret: StoredSecret, server: ServerAddress, policy: ConnectionPolicy | None = None
) -> Iterator[ImapSession]:
    """A session that has logged in with a stored password. A refusal is counted.

    Raises:
        SecretUnreadable, TooManyRefusedLogins, MailServerError
    """
    password = credentials.decrypted(gateway, secret)
    policy = policy or sessions.connection_policy(gateway)
    login = Login("imap", server.host, server.port, server.username)
    with (
        login_tries.taken(gateway, secret.tries, login) as place,
        imap.connect(
            server, password, policy, logging_in=lambda: over_imap(gateway, secret, ends_at=policy.ends_at)
        ) as mailbox,
    ):
        place.end(refused=False)
        yield mailbox


@contextlib.contextmanager
def over_imap(gateway: Gateway, secret: StoredSecret, *, ends_at: float = math.inf) -> Iterator[None]:
    """Use this block around the login. It waits until one more login may be refused, and counts a refusal.

    Raises:
        LoginRefused: the password has been refused twice meanwhile, so it is not tried.
        MailServerUnavailable: other logins take too long. The block waits until `ends_at` at most (`time.monotonic`).
    """
    with _in_turn(gateway, secret, _left, ends_at, command="LOGIN"):
        try:
            yield
        except LoginRefused as exc:
            _record_imap(gateway, secret, exc)
            raise
        _record_imap(gateway, secret, None)


@contextlib.contextmanager
def over_smtp(gateway: Gateway, secret: StoredSecret) -> Iterator[None]:
    """Like `over_imap`, around the login of an attempt to send. Any error of the login makes sending wait.

    Raises:
        LoginRefused, MailServerUnavailable: as in `over_imap`.
    """
    with _in_turn(gateway, secret, _left_over_smtp, math.inf, command="AUTH"):
        try:
            yield
        except GatewayError as exc:
            if is_about_smtp_login(exc):
                _record_smtp(gateway, secret, exc)
            raise
        _record_smtp(gateway, secret, None)


@contextlib.contextmanager
def over_smtp_of_test(
    gateway: Gateway, secret: StoredSecret, before: Connector, *, ends_at: float
) -> Iterator[None]:
    """Like `over_imap`, around the login of a test. `before`: the connector when the test began. If sending was stopped then, the
    password is tried once more, because the person who tests wants to know.

    Raises:
        LoginRefused, MailServerUnavailable: as in `over_imap`.
    """

    def left(connector: Connector) -> int:
        is_asked_for = before.sending_status == SendingStatus.STOPPED and (
            connector.sending_refused_logins == before.sending_refused_logins
        )
        return max(_left_over_smtp(connector), 1 if is_asked_for else 0)

    with _in_turn(gateway, secret, left, ends_at, command="AUTH"):
        try:
            yield
        except LoginRefused as exc:
            _record_smtp(gateway, secret, exc)
            raise
        _record_smtp(gateway, secret, None)


@contextlib.contextmanager
def _in_turn(
    gateway: Gateway,
    secret: StoredSecret,
    left: Callable[[Connector], int],
    ends_at: float,
    *,
    command: str,
) -> Iterator[None]:
    """A block in which no more logins run than may still be refused (`left`)."""
    ends_at = min(ends_at, time.monotonic() + gateway.settings.command_timeout_s)
    with gateway.db.reading() as session:
        place = min(credentials.with_same_login(session, gateway, secret))
    for alone in (False, True):
        wait_s = ends_at - time.monotonic()
        with gateway.login_places.held(place, alone=alone, wait_s=wait_s):
            with gateway.db.reading() as session:
                connector = session.get(Connector, secret.connector_id)
            still = left(connector) if connector is not None else MAX_REFUSED_LOGINS
            if still <= 0:
                raise LoginRefused(SPENT, command=command)
            if alone or still >= MAX_REFUSED_LOGINS:
                yield
                return


def _left(connector: Connector) -> int:
    """How many logins may still be refused before the connector is stopped. Two refusals over SMTP have stopped only sending."""
    smtp = connector.sending_refused_logins
    return MAX_REFUSED_LOGINS - connector.refused_logins - (smtp if smtp < MAX_REFUSED_LOGINS else 0)


def _left_over_smtp(connector: Connector) -> int:
    """How many logins over SMTP may still be refused before sending is stopped."""
    return 0 if connector.sending_status == SendingStatus.STOPPED else _left(connector)


def _record_imap(gateway: Gateway, secret: StoredSecret, refusal: LoginRefused | None) -> None:
    """Record that IMAP accepted the password, or refused it."""
    if refusal is None and not _is_news(gateway, secret.connector_id):
        return
    with gateway.db.unit_of_work() as session:
        connector, others = _locked(session, gateway, secret)
        if connector is None:
            return
        if refusal is None:
            connector.imap_logged_in_at = clock.utc_now()
        for each in (connector, *others):
            each.refused_logins = each.refused_logins + 1 if refusal is not None else 0
        if refusal is not None:
            _stop_where_due(session, [connector, *others], refusal)


def _record_smtp(gateway: Gateway, secret: StoredSecret, error: GatewayError | None) -> None:
    """Record the outcome of a login over SMTP. A success starts sending again. After a failure, sending waits or stops."""
    if error is None and not _is_news(gateway, secret.connector_id, over_smtp=True):
        return
    with gateway.db.unit_of_work() as session:
        connector, others = _locked(session, gateway, secret)
        if connector is None:
            return
        alike = [connector, *(each for each in others if _smtp_login(each) == _smtp_login(connector))]
        if error is None:
            for each in alike:
                if each.sending_error_code not in PAST_LOGIN:
                    forget_sending(each)
            connector.smtp_logged_in_at = clock.utc_now()
            return
        is_stopped = connector.sending_status == SendingStatus.STOPPED
        _record_sending_error(connector, error)
        if is_stopped:  # this login is a test while sending is stopped
            connector.sending_next_attempt_at = None
            return
        connector.sending_status = SendingStatus.WAITING
        connector.sending_next_attempt_at = clock.utc_now() + WAITS.after(connector.sending_failed_attempts)
        if isinstance(error, LoginRefused):
            for each in alike:
                each.sending_refused_logins += 1
            _stop_where_due(session, alike, error)


def is_about_smtp_login(error: GatewayError | None) -> bool:
    """Whether this error is the server's answer to the login over SMTP, and not an error of the network. This includes the answers
    that a login is needed, and that the account has reached a limit."""
    if is_about_account(error):
        return True
    is_network = isinstance(error, ConnectionLost | MailServerTimeout)
    return isinstance(error, MailServerError) and error.command == "AUTH" and not is_network


def is_about_account(error: GatewayError | None) -> bool:
    """Whether the server takes no mail from this account for now, or without a login."""
    return isinstance(error, LoginWanted | SendingLimitReached)


def record_sent(gateway: Gateway, secret: StoredSecret) -> None:
    """Record that a mail was sent, so the errors of `PAST_LOGIN` are over."""
    with gateway.db.unit_of_work() as session:
        connector, _others = _locked(session, gateway, secret)
        if connector is not None and connector.sending_error_code in PAST_LOGIN:
            forget_sending(connector)


def record_sending_trouble(gateway: Gateway, secret: StoredSecret, error: GatewayError) -> None:
    """Record an error that is neither about a mail nor about the login. Sending waits, and the connector shows the reason."""
    _record_smtp(gateway, secret, error)


def is_about_smtp_server(error: GatewayError | None) -> bool:
    """Whether this error is about the server or the connection to it, and not about a mail."""
    return isinstance(error, MailServerError) and error.command not in {"AUTH", "MAIL", "RCPT", "DATA"}


def forget(connector: Connector) -> None:
    """Reset the counts and errors of the password."""
    connector.refused_logins = 0
    connector.imap_logged_in_at = connector.smtp_logged_in_at = None
    forget_sending(connector)


def forget_sending(connector: Connector) -> None:
    """Reset the counts and errors of sending."""
    connector.sending_refused_logins = connector.sending_failed_attempts = 0
    connector.sending_status = SendingStatus.ACTIVE
    connector.sending_error_code = connector.sending_error_detail = None
    connector.sending_error_server_text = None
    connector.sending_error_at = connector.sending_next_attempt_at = None


def _is_news(gateway: Gateway, connector_id: str, *, over_smtp: bool = False) -> bool:
    """Whether a successful login changes the connector. Most do not, and then nothing is written."""
    with gateway.db.reading() as session:
        connector = session.get(Connector, connector_id)
    if connector is None:
        return False
    if over_smtp:
        return connector.sending_status != SendingStatus.ACTIVE or connector.smtp_logged_in_at is None
    return connector.refused_logins > 0 or connector.imap_logged_in_at is None


def _locked(
    session: Session, gateway: Gateway, secret: StoredSecret
) -> tuple[Connector | None, list[Connector]]:
    """The connector, if this is still its password, and the other connectors that log in to the mailbox with it. They are locked in
    the order of their ids, so that two transactions never wait for each other."""
    ciphertexts = credentials.with_same_login(session, gateway, secret)
    rows = select(Connector).where(col(Connector.id).in_(ciphertexts)).order_by(col(Connector.id))
    locked = session.execute(rows.with_for_update(), execution_options={"populate_existing": True})
    current = [
        connector
        for connector in locked.scalars().all()
        if credentials.ciphertext_of(session, connector.id) == ciphertexts[connector.id]
    ]
    own = next((each for each in current if each.id == secret.connector_id), None)
    return own, [each for each in current if each is not own]


def _smtp_login(connector: Connector) -> tuple[str | None, str | None]:
    return connector.smtp_host, connector.smtp_username


def _stop_where_due(session: Session, connectors: Sequence[Connector], refusal: LoginRefused) -> None:
    """Stop each of these connectors, or its sending, if its logins were refused twice. They all have one password."""
    is_imap_good = any(each.refused_logins == 0 and each.imap_logged_in_at is not None for each in connectors)
    for connector in connectors:
        was_spent = connector.sending_status == SendingStatus.STOPPED
        refused = connector.refused_logins + (0 if was_spent else connector.sending_refused_logins)
        if refused < MAX_REFUSED_LOGINS:
            continue
        if not was_spent:
            _record_sending_error(connector, refusal)
            connector.sending_status = SendingStatus.STOPPED
            connector.sending_next_attempt_at = None
        if is_imap_good:
            _announce(session, connector, EventType.CONNECTOR_SENDING_STOPPED, refusal)
        elif connector.status in STOPPABLE:
            _stop(connector, refusal)
            _announce(session, connector, EventType.CONNECTOR_STOPPED, refusal)


def _stop(connector: Connector, refusal: LoginRefused) -> None:
    connector.status = ConnectorStatus.STOPPED
    connector.logged_in_at = None  # it must not keep others out of the mailbox
    connector.next_fetch_at = None
    connector.last_error_code = refusal.code
    connector.last_error_detail = refusal.detail
    connector.last_error_server_text = refusal.server_text
    connector.last_error_at = clock.utc_now()


def _announce(session: Session, connector: Connector, event: EventType, refusal: LoginRefused) -> None:
    log.warning("logins_stopped", connector_id=connector.id, event_type=event.value, code=refusal.code)
    recipients = recipients_of(session, connector)
    session.flush()
    outbox.append(
        session,
        [connector_event(event, connector_id=connector.id, recipients=recipients, code=refusal.code)],
    )


def _record_sending_error(connector: Connector, error: GatewayError) -> None:
    if connector.sending_status != SendingStatus.STOPPED:
        connector.sending_failed_attempts += 1
    connector.sending_error_code = error.code
    connector.sending_error_detail = error.detail
    connector.sending_error_server_text = getattr(error, "server_text", None)
    connector.sending_error_at = clock.utc_now()
