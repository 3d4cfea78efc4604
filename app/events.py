"""The events for other services, as CloudEvents 1.0. Pure: this module sends nothing. No event holds content of a
mail."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

TYPE_PREFIX = "com.aymine.imap."
TYPE_SUFFIX = ".v1"
SOURCE = "/imap-gateway"


class EventType(StrEnum):
    """The middle of the CloudEvents `type`: a fact of the past."""

    MESSAGE_STORED = "message.stored"
    MESSAGE_RETURNED = "message.returned"
    MESSAGE_PROCESSED = "message.processed"
    MESSAGE_DELETED = "message.deleted"
    MESSAGE_QUARANTINED = "message.quarantined"
    SUBMISSION_SENT = "submission.sent"
    SUBMISSION_FAILED = "submission.failed"
    SUBMISSION_BOUNCED = "submission.bounced"
    CONNECTOR_CREDENTIALS_REQUIRED = "connector.credentials_required"
    CONNECTOR_FAILING = "connector.failing"
    CONNECTOR_STOPPED = "connector.stopped"
    CONNECTOR_RECOVERED = "connector.recovered"
    CONNECTOR_SENDING_STOPPED = "connector.sending_stopped"
    WEBHOOK_DISABLED = "webhook.disabled"

    @property
    def full(self) -> str:
        """The `type` in the CloudEvent."""
        return f"{TYPE_PREFIX}{self.value}{TYPE_SUFFIX}"


@dataclass(frozen=True)
class NewEvent:
    """An event that is about to be appended to the outbox."""

    type: EventType
    connector_id: str | None
    subject: str
    """The object of the event: `messages/{id}`, `connectors/{id}`, …"""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipients:
    """The people who handle a connector's mail: its owner, or the groups bound to it."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def message_event(
    event_type: EventType,
    *,
    connector_id: str,
    message_id: str,
    notify: bool,
    recipients: Recipients,
) -> NewEvent:
    """A message was stored, returned, processed or deleted. `notify`: the application should notify users."""
    data = {
        "connector_id": connector_id,
        "message_id": message_id,
        "notify": notify,
        "recipients": {"users": list(recipients.users), "groups": list(recipients.groups)},
    }
    return NewEvent(event_type, connector_id, f"messages/{message_id}", data)


def quarantined_event(*, connector_id: str, quarantine_id: str, reason: str) -> NewEvent:
    """A mail could not be taken in and stays on the server."""
    data = {"connector_id": connector_id, "quarantine_id": quarantine_id, "reason": reason}
    return NewEvent(EventType.MESSAGE_QUARANTINED, connector_id, f"quarantine/{quarantine_id}", data)


def connector_event(
    event_type: EventType, *, connector_id: str, recipients: Recipients, code: str | None = None
) -> NewEvent:
    """The status of a connector changed. `code` is the code of the error, if an error is the cause."""
    data: dict[str, Any] = {
        "connector_id": connector_id,
        "recipients": {"users": list(recipients.users), "groups": list(recipients.groups)},
    }
    if code is not None:
        data["code"] = code
    return NewEvent(event_type, connector_id, f"connectors/{connector_id}", data)


def submission_event(
    event_type: EventType, *, connector_id: str, submission_id: str, status: str
) -> NewEvent:
    """A submission reached its end."""
    data = {"connector_id": connector_id, "submission_id": submission_id, "status": status}
    return NewEvent(event_type, connector_id, f"submissions/{submission_id}", data)


def bounced_event(*, connector_id: str, submission_id: str, status: str, message_id: str) -> NewEvent:
    """A report says that a submission was not delivered to somebody. `message_id` is the message with the report."""
    data = {
        "connector_id": connector_id,
        "submission_id": submission_id,
        "status": status,
        "message_id": message_id,
    }
    return NewEvent(EventType.SUBMISSION_BOUNCED, connector_id, f"submissions/{submission_id}", data)


def webhook_disabled_event(*, webhook_id: str, reason: str, code: str | None, status: int | None) -> NewEvent:
    """The gateway has switched a webhook off. `code` and `status` are of the last attempt."""
    data = {"webhook_id": webhook_id, "reason": reason, "code": code, "response_status": status}
    return NewEvent(EventType.WEBHOOK_DISABLED, None, f"webhooks/{webhook_id}", data)


def cloud_event(
    *, event_id: str, full_type: str, subject: str, time: datetime, data: dict[str, Any], source: str
) -> dict[str, Any]:
    """The CloudEvent in JSON (CloudEvents 1.0, JSON format §2). The feed, the stream and webhooks all use it."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "type": full_type,
        "source": source,
        "subject": subject,
        "time": time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }


def full_type_of(name: str) -> str | None:
    """The CloudEvents `type` for a name that a caller wrote in full or in short. None: there is no such type."""
    return next((each.full for each in EventType if name in {each.value, each.full}), None)
