"""Errors inside the gateway: settings, keys, database, disk, and a cycle that must stop."""

from app.errors.root import GatewayError


class SettingsIncomplete(GatewayError):
    code = "settings_incomplete"
    default_detail = "A required setting is missing."


class SecretUnreadable(GatewayError):
    code = "secret_unreadable"
    default_detail = "The stored credentials cannot be decrypted with the configured keys; enter them again."


class NoRoom(GatewayError):
    code = "no_room"
    retryable = True
    default_detail = "No more mail can be kept at the moment; it stays on the mail server."

    retry_after_s = 60.0
    """Fetching looks again after this time, and goes on by itself."""


class QuotaReached(NoRoom):
    code = "quota_reached"
    default_detail = (
        "This connector has reached its quota (GATEWAY_CONNECTOR_QUOTA_OCTETS). New mail stays on the mail server"
        " until messages are deleted."
    )


class DiskNearlyFull(NoRoom):
    code = "disk_nearly_full"
    default_detail = (
        "The disk of the gateway's database has less free space than GATEWAY_FREE_DISK_OCTETS. New mail stays on the mail"
        " server, and none is taken to be sent, until there is more."
    )


class LeaseLost(GatewayError):
    code = "lease_lost"
    retryable = True
    default_detail = "Another instance has taken this mailbox over."


class StoreUnavailable(GatewayError):
    code = "store_unavailable"
    retryable = True
    default_detail = "The gateway's database cannot be used at the moment."


class StoreInUse(StoreUnavailable):
    code = "store_in_use"
    default_detail = (
        "Another process serves from this SQLite file and has not stopped. Stop it, or let this process answer HTTP only"
        " (GATEWAY_RUN_JOBS=false), or use PostgreSQL, which allows any number of processes."
    )


class ValueRefused(GatewayError):
    code = "value_refused"
    default_detail = "The gateway's database does not accept one of the values."


class SettingsChanged(GatewayError):
    code = "settings_changed"
    retryable = True
    default_detail = (
        "The connector was changed while its cycle was running; the next cycle uses the new settings."
    )
