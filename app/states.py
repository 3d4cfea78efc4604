"""The states and kinds that rows are in, each with its closed set of values. The database holds the value as text, and
callers see the same text.
"""

from enum import StrEnum


class ConnectorKind(StrEnum):
    """Whose mailbox a connector reads."""

    SHARED = "shared"
    PERSONAL = "personal"


class ConnectorStatus(StrEnum):
    """Whether a connector fetches, and what it waits for."""

    AWAITING_CREDENTIALS = "awaiting_credentials"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"
    STOPPED = "stopped"


class SendingStatus(StrEnum):
    """Whether a connector sends."""

    ACTIVE = "active"
    WAITING = "waiting"
    """After trouble at the login, until `sending_next_attempt_at`."""
    STOPPED = "stopped"
    """The password was refused twice."""


class FileSent(StrEnum):
    """Whether the gateway files a copy of what it sends in the mailbox's Sent folder."""

    AUTO = "auto"
    """Unless the provider does it, which the gateway finds out by looking."""
    ALWAYS = "always"
    NEVER = "never"


class SealedBy(StrEnum):
    """How the owner of a personal connector has entered the password."""

    TOKEN = "token"  # noqa: S105 - not a secret
    """With a token of their own."""
    LINK = "link"
    """Only by links, which may be used by whoever made them."""


class Security(StrEnum):
    """How a connection to a mail server is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class FirstFetch(StrEnum):
    """What to take of the mail that was there before the connector."""

    ALL = "all"
    NONE = "none"
    SINCE = "since"


class CycleOutcome(StrEnum):
    """How a fetch cycle ended."""

    OK = "ok"
    FAILED = "failed"


class MessageState(StrEnum):
    """Whether somebody has dealt with a message."""

    NEW = "new"
    PROCESSED = "processed"


class MessageOrder(StrEnum):
    """In which order a list has its messages."""

    ARRIVAL = "arrival"
    """In which they became visible, the first first: for polling."""
    NEWEST = "newest"
    """By the time at which the server received them, the latest first: for people."""


class MoveState(StrEnum):
    """Where a mail is that was taken in."""

    PENDING = "pending"
    """It is to be moved, and the move is not proved."""
    MOVED = "moved"
    GONE = "gone"
    """Somebody else took it away."""


class QuarantineState(StrEnum):
    """Whether a mail that could not be taken in is tried again."""

    QUARANTINED = "quarantined"
    SUSPECT = "suspect"
    """The next cycle tries it again."""


class DeliveryStatus(StrEnum):
    """Where an event is on its way to a webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookBody(StrEnum):
    """As which media type a webhook gets an event. The octets are the same."""

    CLOUDEVENTS = "cloudevents"
    JSON = "json"


class DisabledReason(StrEnum):
    """Why the gateway has switched a webhook off."""

    GONE = "gone"
    """The receiver answered 410."""
    FAILING = "failing"
    """It has accepted nothing for days."""


class SubmissionStatus(StrEnum):
    """Where a submission is on its way."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    PARTLY_SENT = "partly_sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


class RecipientStatus(StrEnum):
    """What became of a submission for one recipient."""

    PENDING = "pending"
    SENT = "sent"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    BOUNCED = "bounced"
    """A mail server accepted it, and reported later that it was not delivered."""


class SentCopyState(StrEnum):
    """Whether a sent mail was filed in the mailbox."""

    PENDING = "pending"
    FILED = "filed"
    FAILED = "failed"
    NONE = "none"
    """There is nothing to file."""
