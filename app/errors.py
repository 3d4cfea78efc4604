"""All errors as one tree. Branches say what the caller may do, leaves say what happened.

GatewayError                      code, retryable
├── SettingsIncomplete            the process refuses to start
├── Unauthenticated               401
├── Forbidden                     403
│   └── ScopeMissing
├── NotFound                      404
├── Conflict                      409
│   ├── AlreadyExists
│   ├── WrongState
│   ├── CycleRunning
│   ├── MessagesStored
│   ├── IdempotencyMismatch
│   └── AttachmentUnreadable
├── PreconditionFailed            412, the object is not the version that If-Match names
├── InvalidInput                  422, with errors[{pointer, detail}]
├── RequestTooSlow                408
├── TooLarge                      413
├── TooManyRequests               429, with Retry-After
├── Overloaded                    503, with Retry-After
├── ParserBusy                    503, with Retry-After
├── MailServerError
│   ├── MailServerRejected        502, the server refused
│   │   ├── LoginRefused
│   │   │   └── ApplicationPasswordNeeded
│   │   ├── PasswordExpired
│   │   ├── PrivacyRequired
│   │   ├── AdministratorNeeded
│   │   ├── AuthorizationFailed
│   │   ├── AccessDenied
│   │   ├── ImapSwitchedOff
│   │   ├── SmtpSwitchedOff
│   │   ├── WebLoginNeeded
│   │   ├── PasswordLoginSwitchedOff
│   │   ├── NoLoginMethod
│   │   ├── LoginNotPossible
│   │   ├── FolderMissing
│   │   ├── ProcessedFolderMissing
│   │   ├── SameFolder
│   │   ├── FolderNotSelectable
│   │   ├── FolderForbidden
│   │   ├── FolderReadOnly
│   │   ├── NoRightToMove
│   │   ├── CopyNotRemoved
│   │   ├── CopiesUnknown
│   │   ├── OverQuota
│   │   ├── CommandRefused
│   │   ├── CertificateRefused
│   │   │   ├── CertificateExpired
│   │   │   ├── CertificateNotYetValid
│   │   │   ├── CertificateForOtherName
│   │   │   ├── CertificateIssuerUnknown
│   │   │   └── CertificateSelfSigned
│   │   ├── NotTls
│   │   ├── TlsExpected
│   │   ├── StarttlsNotOffered
│   │   ├── TlsTooOld
│   │   ├── NotImap
│   │   └── NotSmtp
│   ├── MailServerUnavailable     503, try again later
│   │   ├── HostUnreachable
│   │   │   └── ConnectionRefused
│   │   ├── TlsFailed
│   │   ├── ConnectionLost
│   │   ├── TooManyConnections
│   │   ├── LoginNotUnderstood
│   │   ├── MailNotGiven
│   │   └── Throttled
│   └── MailServerTimeout         504
│       ├── ConnectTimedOut
│       └── NoGreeting
├── SecretUnreadable              500, no key decrypts it
├── StoreUnavailable              503, the database cannot be used now
│   └── StoreInUse                another process serves from this SQLite file
├── ValueRefused                  422, the database does not take a value
├── NoRoom                        503, shown at a connector: no more mail is kept
│   ├── QuotaReached
│   └── DiskNearlyFull
├── LeaseLost                     internal: another instance took the mailbox over
└── SettingsChanged               internal: the connector was changed while its cycle ran

`str(error)` is the outward sentence: no secret, nothing of what the server said. What the server said is in fields,
for the log, and for those who may see a connector's settings.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


class GatewayError(Exception):
    """Root of all errors the gateway raises on purpose."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    default_detail: ClassVar[str] = "Something went wrong inside the gateway."

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)


class SettingsIncomplete(GatewayError):
    code = "settings_incomplete"
    default_detail = "A required setting is missing."


class Unauthenticated(GatewayError):
    code = "unauthenticated"
    default_detail = "This request needs a valid bearer token."


class Forbidden(GatewayError):
    code = "forbidden"
    default_detail = "You may see this object, but you may not do this with it."


class ScopeMissing(Forbidden):
    code = "scope_missing"
    default_detail = "The API key lacks the scope for this."


class NotFound(GatewayError):
    code = "not_found"
    default_detail = "There is no such object, or you may not see it."


class Conflict(GatewayError):
    code = "conflict"
    default_detail = "The object's present state does not allow this."


class AlreadyExists(Conflict):
    code = "already_exists"
    default_detail = "Such an object exists already."


class WrongState(Conflict):
    code = "wrong_state"


class CycleRunning(Conflict):
    code = "cycle_running"
    retryable = True
    default_detail = "A fetch cycle of this mailbox is still running."


class MessagesStored(Conflict):
    code = "messages_stored"
    default_detail = "Messages of this connector are stored; repeat with ?messages=delete to delete them too."


class IdempotencyMismatch(Conflict):
    code = "idempotency_mismatch"
    default_detail = "This Idempotency-Key was used before with another request."


class AttachmentUnreadable(Conflict):
    code = "attachment_unreadable"
    default_detail = "This attachment cannot be taken out of the mail; the mail's source still holds it."


class PreconditionFailed(GatewayError):
    code = "precondition_failed"
    default_detail = "The object has changed since the version that If-Match names; read it again."


@dataclass(frozen=True)
class FieldFault:
    """One fault of the input: a JSON Pointer (RFC 6901) to the field, and what is wrong with it."""

    pointer: str
    detail: str


class InvalidInput(GatewayError):
    code = "invalid_input"
    default_detail = "The input is not valid."

    def __init__(self, *faults: FieldFault, detail: str | None = None) -> None:
        self.faults = faults
        super().__init__(detail)


class RequestTooSlow(GatewayError):
    code = "request_too_slow"
    retryable = True
    default_detail = "The body of the request did not arrive in time."


class TooLarge(GatewayError):
    code = "too_large"
    default_detail = "The request is larger than this gateway accepts."


class TooManyRequests(GatewayError):
    code = "too_many_requests"
    retryable = True
    default_detail = "Too many requests; try again later."

    def __init__(self, retry_after_s: int = 60) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class Overloaded(GatewayError):
    code = "overloaded"
    retryable = True
    default_detail = "As much of this is under way as the gateway does at once; try again later."

    def __init__(self, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class ParserBusy(GatewayError):
    code = "parser_busy"
    retryable = True
    default_detail = "No parser is free to read the mail; try again later."


_SAID = re.compile(r"(?:OK|NO|BAD|BYE)\b|[2-5][0-9][0-9](?:\s|$)")
"""A status of IMAP or a reply of SMTP; what else stands in `server_line` is how we or a library put it."""


class MailServerError(GatewayError):
    """An error between us and a mail server. `command` and `server_line` are for the log, never for callers."""

    code = "mail_server_error"
    default_detail = "The mail server could not be used."

    def __init__(
        self,
        detail: str | None = None,
        *,
        command: str | None = None,
        server_line: str | None = None,
        response_code: str | None = None,
    ) -> None:
        self.command = command
        self.server_line = server_line
        self.response_code = response_code
        self.server_text: str | None = None
        """The server's own words, fit to be kept and to be shown to those who may see the settings."""
        self.alert: str | None = None
        """What the server asked to show to its user, as plain text (RFC 9051 §7.1)."""
        self.turned_away = False
        """The server refused without looking at the mailbox, so it would probably refuse other mailboxes too."""
        super().__init__(detail)

    def mask(self, masked: Callable[[str | None], str | None]) -> None:
        """Mask what the server said; from then on it may leave the adapter."""
        self.server_line = masked(self.server_line)
        self.alert = masked(self.alert)
        if self.server_line is not None and _SAID.match(self.server_line):
            self.server_text = self.server_line


class MailServerRejected(MailServerError):
    code = "mail_server_rejected"
    default_detail = "The mail server refused."


class LoginRefused(MailServerRejected):
    code = "login_refused"
    default_detail = "The mail server refused the user name or password."


class ApplicationPasswordNeeded(LoginRefused):
    code = "application_password_needed"
    default_detail = "The mail server requires a password for applications, not the password of the account."


REFUSED_LOGIN_CODES = frozenset({LoginRefused.code, ApplicationPasswordNeeded.code})
"""The server did not accept the user name or the password. The errors below have other reasons."""


class PasswordExpired(MailServerRejected):
    code = "password_expired"
    default_detail = "The password has expired; choose a new one at the mail provider."


class PrivacyRequired(MailServerRejected):
    code = "privacy_required"
    default_detail = (
        "The mail server accepts no password on this connection; set security to tls or starttls."
    )


class AdministratorNeeded(MailServerRejected):
    code = "administrator_needed"
    default_detail = "The mail server asks you to contact its administrator about this account."


class AuthorizationFailed(MailServerRejected):
    code = "authorization_failed"
    default_detail = "The mail server accepted the password, but this user name may not open the mailbox."


class AccessDenied(MailServerRejected):
    code = "access_denied"
    default_detail = "The mail server does not allow this account to use the mailbox."


class ImapSwitchedOff(MailServerRejected):
    code = "imap_switched_off"
    default_detail = "IMAP is switched off for this account; switch it on at the mail provider."


class SmtpSwitchedOff(MailServerRejected):
    code = "smtp_switched_off"
    default_detail = "Sending over SMTP is switched off for this account; switch it on at the mail provider."


class WebLoginNeeded(MailServerRejected):
    code = "web_login_needed"
    default_detail = "The mail provider wants the account's owner to log in on its web page first."


class PasswordLoginSwitchedOff(MailServerRejected):
    code = "password_login_switched_off"
    default_detail = "The mail provider does not allow logins with a password over IMAP or SMTP."


class NoLoginMethod(MailServerRejected):
    code = "no_login_method"
    default_detail = "The mail server accepts none of the login methods that the gateway knows."


class LoginNotPossible(MailServerRejected):
    code = "login_not_possible"
    default_detail = "The mail server refused the login for another reason than the user name or password."


class FolderMissing(MailServerRejected):
    code = "source_folder_missing"
    default_detail = "The folder to download from does not exist on the mail server."


class ProcessedFolderMissing(MailServerRejected):
    code = "processed_folder_missing"
    default_detail = "The folder to move processed mail to does not exist on the mail server."


class SameFolder(MailServerRejected):
    code = "same_folder"
    default_detail = "The folder to download from and the folder to move to are the same on the mail server."


class FolderNotSelectable(MailServerRejected):
    code = "folder_not_selectable"
    default_detail = "The mail server does not open the folder to download from."


class FolderForbidden(MailServerRejected):
    code = "folder_forbidden"
    default_detail = "The mail server does not allow this account to open the folder to download from."


class FolderReadOnly(MailServerRejected):
    code = "folder_read_only"
    default_detail = "The folder to download from is read-only, so mail could not be moved out of it."


class NoRightToMove(MailServerRejected):
    code = "no_right_to_move"
    default_detail = "The mail server does not allow this account to move mail out of the folder."


class CopyNotRemoved(MailServerRejected):
    code = "copy_not_removed"
    default_detail = (
        "The mail server copies mail to the processed folder, but does not allow the gateway to remove it from the folder "
        "that it is downloaded from."
    )

    is_second_time = False
    """This has happened before, so another attempt would end the same way."""


class CopiesUnknown(MailServerRejected):
    code = "copies_unknown"
    default_detail = (
        "Some mail stays in the folder that it was downloaded from: it may have been copied to the processed folder "
        "already, and that folder could not be looked through. New mail is taken in meanwhile."
    )


class OverQuota(MailServerRejected):
    code = "over_quota"
    default_detail = "The mailbox is over its quota, so mail cannot be moved."


class CommandRefused(MailServerRejected):
    code = "command_refused"
    default_detail = "The mail server refused a command."


class CertificateRefused(MailServerRejected):
    code = "certificate_refused"
    default_detail = "The mail server's TLS certificate could not be verified."


class CertificateExpired(CertificateRefused):
    code = "certificate_expired"
    default_detail = "A certificate of the mail server has expired. It has to be renewed."


class CertificateNotYetValid(CertificateRefused):
    code = "certificate_not_yet_valid"
    default_detail = "A certificate of the mail server is not valid yet."


class CertificateForOtherName(CertificateRefused):
    code = "certificate_for_other_name"
    default_detail = "The mail server's certificate is for another name than the host that was entered."


class CertificateIssuerUnknown(CertificateRefused):
    code = "certificate_issuer_unknown"
    default_detail = (
        "The mail server's certificate comes from an issuer that is not trusted here, or the server does not send the"
        " certificates in between."
    )


class CertificateSelfSigned(CertificateRefused):
    code = "certificate_self_signed"
    default_detail = "The mail server's certificate is self-signed: nobody vouches for it."


CERTIFICATE_CODES = frozenset(
    each.code
    for each in (
        CertificateRefused,
        CertificateExpired,
        CertificateNotYetValid,
        CertificateForOtherName,
        CertificateIssuerUnknown,
        CertificateSelfSigned,
    )
)


class NotTls(MailServerRejected):
    code = "not_tls"
    default_detail = "The mail server does not speak TLS at this port."


class TlsExpected(MailServerRejected):
    code = "tls_expected"
    default_detail = "The mail server begins with TLS at this port. Set security to tls."


class StarttlsNotOffered(MailServerRejected):
    code = "starttls_not_offered"
    default_detail = (
        "The mail server does not offer STARTTLS at this port, or refuses it. Use the port that it has for TLS, with"
        " security tls."
    )


class TlsTooOld(MailServerRejected):
    code = "tls_too_old"
    default_detail = "The mail server speaks only TLS that is too old to be safe. It needs TLS 1.2 or later."


class NotImap(MailServerRejected):
    code = "not_imap"
    default_detail = "Something else than an IMAP server answers at this port."


class NotSmtp(MailServerRejected):
    code = "not_smtp"
    default_detail = "Something else than an SMTP server answers at this port."


class MailServerUnavailable(MailServerError):
    code = "mail_server_unavailable"
    retryable = True
    default_detail = "The mail server is not available at the moment."

    retry_after_s: float | None = None
    """How long the server asked us to stay away; None if it did not say."""


class HostUnreachable(MailServerUnavailable):
    code = "host_unreachable"
    default_detail = "The mail server could not be reached."


class ConnectionRefused(HostUnreachable):
    code = "connection_refused"
    default_detail = "No mail server listens at this port: the connection was refused. Check the port."


class TlsFailed(MailServerUnavailable):
    code = "tls_failed"
    default_detail = "TLS could not be begun with the mail server."


class ConnectionLost(MailServerUnavailable):
    code = "connection_lost"
    default_detail = "The connection to the mail server was lost."


class TooManyConnections(MailServerUnavailable):
    code = "too_many_connections"
    default_detail = "The mail server allows no further connection at the moment."


class LoginNotUnderstood(MailServerUnavailable):
    code = "login_not_understood"
    default_detail = "The mail server did not understand the login, or has a fault."


class MailNotGiven(MailServerUnavailable):
    code = "mail_not_given"
    default_detail = "The mail server lists mail and does not give it at the moment."


class Throttled(MailServerUnavailable):
    code = "throttled"
    default_detail = "The mail server asked for a pause."


class MailServerTimeout(MailServerError):
    code = "mail_server_timeout"
    retryable = True
    default_detail = "The mail server did not answer in time."


class ConnectTimedOut(MailServerTimeout):
    code = "connect_timed_out"
    default_detail = (
        "Nothing answered at the host and port of the mail server. Check both, and look for a firewall."
    )


class NoGreeting(MailServerTimeout):
    code = "no_greeting"
    default_detail = (
        "The connection was accepted at the host and port of the mail server, and then nothing was said."
    )


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
        "This connector keeps as much mail as one may (GATEWAY_CONNECTOR_QUOTA_OCTETS). New mail stays on the mail server"
        " until messages are deleted."
    )


class DiskNearlyFull(NoRoom):
    code = "disk_nearly_full"
    default_detail = (
        "The disk of the gateway's database has less free space than GATEWAY_FREE_DISK_OCTETS. New mail stays on the mail"
        " server until there is more."
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
