"""What goes wrong between the gateway and a mail server: it refused, it is not available, it did not answer in time."""

import re
from collections.abc import Callable

from app.errors.root import GatewayError

_SAID = re.compile(r"(?:OK|NO|BAD|BYE)\b|[2-5][0-9][0-9](?:\s|$)")
"""A status of IMAP or a reply of SMTP. Any other text in `server_line` is from the gateway or a library."""


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
        """The words of the server, masked, so that they may be stored and shown to people who may see the settings."""
        self.alert: str | None = None
        """The text that the server asked to show to its user, as plain text (RFC 9051 §7.1)."""
        self.turned_away = False
        """The server refused without looking at the mailbox, so it would probably refuse other mailboxes too."""
        super().__init__(detail)

    def mask(self, masked: Callable[[str | None], str | None]) -> None:
        """Mask the words of the server. After that they may leave the adapter."""
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

    @property
    def was_tried(self) -> bool:
        """False: the server was not asked again, because it has refused this password twice."""
        return self.server_line is not None


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
    default_detail = "The mail provider asks the account's owner to log in on its web page first."


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
    default_detail = "The folder to download from cannot be opened on the mail server."


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
    """It has happened before, so another attempt would end in the same way."""


class CopiesUnknown(MailServerRejected):
    code = "copies_unknown"
    default_detail = (
        "Some mail stays in the folder to download from: it may have been copied to the processed folder already, but "
        "the gateway could not search that folder. New mail is still taken in."
    )


class OverQuota(MailServerRejected):
    code = "over_quota"
    default_detail = "The mailbox is over its quota, so mail cannot be moved."


class CommandRefused(MailServerRejected):
    code = "command_refused"
    default_detail = "The mail server refused a command."


class LoginWanted(MailServerRejected):
    code = "login_wanted"
    default_detail = "The mail server sends no mail without a login, and offers no login on this connection."


class SenderRefused(MailServerRejected):
    code = "sender_refused"
    default_detail = "The mail server does not let this account send from this address."


class RecipientRefused(MailServerRejected):
    code = "recipient_refused"
    default_detail = "The mail server refused the recipient."


class Bounced(MailServerRejected):
    code = "bounced"
    default_detail = "A mail server reported that the mail was not delivered."


class MailRefused(MailServerRejected):
    code = "mail_refused"
    default_detail = "The mail server refused the mail."


class MailTooLarge(MailServerRejected):
    code = "mail_too_large"
    default_detail = "The mail is larger than the mail server accepts."


class OutcomeUnknown(MailServerRejected):
    code = "outcome_unknown"
    default_detail = (
        "Nobody knows whether the mail server took the mail: the connection was lost before its answer."
    )


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
    default_detail = "The mail server's certificate is self-signed, so no authority confirms it."


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
    default_detail = "The mail server uses only TLS versions that are not safe. TLS 1.2 or later is needed."


class NotImap(MailServerRejected):
    code = "not_imap"
    default_detail = "The server at this port is not an IMAP server."


class NotSmtp(MailServerRejected):
    code = "not_smtp"
    default_detail = "The server at this port is not an SMTP server."


class MailServerUnavailable(MailServerError):
    code = "mail_server_unavailable"
    retryable = True
    default_detail = "The mail server is not available at the moment."

    retry_after_s: float | None = None
    """How long the server asked us to wait, in seconds. None: it did not say."""


class HostUnreachable(MailServerUnavailable):
    code = "host_unreachable"
    default_detail = "The mail server could not be reached."


class ConnectionRefused(HostUnreachable):
    code = "connection_refused"
    default_detail = "No mail server listens at this port: the connection was refused. Check the port."


class TlsFailed(MailServerUnavailable):
    code = "tls_failed"
    default_detail = "The mail server did not begin TLS."


class ConnectionLost(MailServerUnavailable):
    code = "connection_lost"
    default_detail = "The connection to the mail server was lost."


class MailDeferred(MailServerUnavailable):
    code = "mail_deferred"
    default_detail = "The mail server does not take the mail at the moment; the gateway tries again."


class SendingRateReached(MailServerUnavailable):
    code = "sending_rate_reached"
    default_detail = (
        "This connector has sent as many mails as it may in a minute or a day; the other mails wait."
    )


class SendingLimitReached(MailServerUnavailable):
    code = "sending_limit_reached"
    default_detail = (
        "The mail server says that this account has reached its limit for sending; the mail waits."
    )


class TooManyConnections(MailServerUnavailable):
    code = "too_many_connections"
    default_detail = "The mail server allows no further connection at the moment."


class LoginNotUnderstood(MailServerUnavailable):
    code = "login_not_understood"
    default_detail = "The mail server did not understand the login, or has a fault."


class MailNotGiven(MailServerUnavailable):
    code = "mail_not_given"
    default_detail = "The mail server lists mail but does not deliver it at the moment."


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
    default_detail = "The mail server accepted the connection, but sent no greeting."
