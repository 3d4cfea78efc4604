"""The tables. Callers never see these classes: `schemas` has the shapes that they see.

Each file holds the tables of the room of `app/services` that has its name. Import them from here, so that all are known.
SQLModel tables do not validate, so check every value from outside before you put it into one.
"""

from app.models.access import ApiKey, AuditRecord, GroupBinding, KeyGrant, StreamTicket
from app.models.columns import UtcDateTime
from app.models.connectors import Connector, Credential, CredentialLink, UpgradeStep
from app.models.cursors import CursorKey
from app.models.events import Event, Feed, Webhook, WebhookDelivery
from app.models.fetching import Cycle, Lease, Quarantined, ServerMessage
from app.models.messages import Message, MessageBody
from app.models.sending import DeletedSubmission, Submission, SubmissionBody, SubmissionRecipient

__all__ = [
    "ApiKey",
    "AuditRecord",
    "Connector",
    "Credential",
    "CredentialLink",
    "CursorKey",
    "Cycle",
    "DeletedSubmission",
    "Event",
    "Feed",
    "GroupBinding",
    "KeyGrant",
    "Lease",
    "Message",
    "MessageBody",
    "Quarantined",
    "ServerMessage",
    "StreamTicket",
    "Submission",
    "SubmissionBody",
    "SubmissionRecipient",
    "UpgradeStep",
    "UtcDateTime",
    "Webhook",
    "WebhookDelivery",
]
