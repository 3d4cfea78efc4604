"""Says when a mailbox is fetched next: the poll interval after a good cycle, the back-off after a failed one."""

from datetime import timedelta

from app.backoff import Growing
from app.errors import GatewayError, LoginRefused, MailServerRejected, TooManyConnections
from app.models import Connector

FIRST_DELAY_S = 30.0
LONGEST_DELAY_S = 1800.0
CROWDED_DELAY_S = 300.0
"""A server that counts connections needs some time to forget those that it still counts for us."""


def after_success(connector: Connector, *, has_more: bool) -> timedelta:
    """The wait before the next cycle. It is zero if there is more mail to fetch."""
    return timedelta(seconds=0 if has_more else connector.poll_interval_s)


def after_failure(connector: Connector, error: GatewayError) -> timedelta:
    """The wait before the next attempt. The first is not longer than the ordinary interval. Later ones double, up to half an
    hour. A random part of the wait keeps the mailboxes of a server that was down from all
    coming back at once."""
    asked_for: float | None = getattr(error, "retry_after_s", None)
    if asked_for is not None:
        return timedelta(seconds=asked_for)
    backoff = Growing(
        first_s=min(FIRST_DELAY_S, connector.poll_interval_s), longest_s=LONGEST_DELAY_S, spread=(0.5, 1.0)
    )
    at_least_s = CROWDED_DELAY_S if _needs_a_while(error) else 0.0
    return backoff.after(connector.failed_attempts, at_least_s=at_least_s)


def _needs_a_while(error: GatewayError) -> bool:
    """Whether the error needs a longer wait: too many connections, or a login that a person must make possible first."""
    if isinstance(error, TooManyConnections):
        return True
    is_at_login = isinstance(error, MailServerRejected) and error.command == "LOGIN"
    return is_at_login and not isinstance(error, LoginRefused)
