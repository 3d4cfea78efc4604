"""The actions that the audit trail records, as facts of the past."""

from enum import StrEnum


class AuditAction(StrEnum):
    """The `action` of a record."""

    CONNECTOR_CREATED = "connector.created"
    CONNECTOR_CHANGED = "connector.changed"
    CONNECTOR_PAUSED = "connector.paused"
    CONNECTOR_RESUMED = "connector.resumed"
    CONNECTOR_DELETED = "connector.deleted"
    CREDENTIALS_ENTERED = "credentials.entered"
    CREDENTIALS_DISCARDED = "credentials.discarded"
    CREDENTIAL_LINK_CREATED = "credential_link.created"
    CREDENTIAL_LINK_WITHDRAWN = "credential_link.withdrawn"
    CREDENTIAL_LINK_REFUSED = "credential_link.password_refused"
    GROUP_BINDING_CREATED = "group_binding.created"
    GROUP_BINDING_CHANGED = "group_binding.changed"
    GROUP_BINDING_DELETED = "group_binding.deleted"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    KEY_GRANTED = "key_grant.created"
    KEY_GRANT_WITHDRAWN = "key_grant.deleted"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_DELETED = "webhook.deleted"
    MESSAGE_SOURCE_READ = "message.source_read"
    MESSAGE_DELETED = "message.deleted"
