"""Finds the meaning of a refused login: by its code, or else by the server's words. Pure; for IMAP and SMTP.

Only some refusals are about the password. If the gateway takes a limit for a wrong password, a person must enter the correct
password again. If it takes a wrong password for a limit, it tries again, and the account gets locked. So:

1. A code with a clear meaning counts (RFC 5530 for IMAP, RFC 4954 §6 for SMTP).
2. Otherwise the words are compared with `PHRASES`, in this order. Most large providers express their limits only in words.
3. If code and words say nothing else, the refusal is about the user name or the password.

The user name is removed from the text first: many servers repeat it, and a mailbox may have the name `busy@`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from app.errors import (
    AccessDenied,
    AdministratorNeeded,
    ApplicationPasswordNeeded,
    AuthorizationFailed,
    ImapSwitchedOff,
    LoginNotPossible,
    LoginRefused,
    MailServerError,
    MailServerUnavailable,
    NoLoginMethod,
    PasswordExpired,
    PasswordLoginSwitchedOff,
    PrivacyRequired,
    SmtpSwitchedOff,
    Throttled,
    TooManyConnections,
    WebLoginNeeded,
)

ErrorType = type[MailServerError]

MAX_TEXT_CHARS = 4000
MIN_MASKED_CHARS = 3
"""Removing a shorter user name would remove letters from the server's own words."""

IMAP_CODES: Mapping[str, ErrorType] = {
    "AUTHENTICATIONFAILED": LoginRefused,
    "NONEXISTENT": LoginRefused,
    "EXPIRED": PasswordExpired,
    "PRIVACYREQUIRED": PrivacyRequired,
    "CONTACTADMIN": AdministratorNeeded,
    "AUTHORIZATIONFAILED": AuthorizationFailed,
    "NOPERM": AccessDenied,
    "WEBALERT": WebLoginNeeded,  # Gmail
    "UNAVAILABLE": MailServerUnavailable,
    "INUSE": MailServerUnavailable,
    "SERVERBUG": MailServerUnavailable,
    "CORRUPTION": MailServerUnavailable,
    "TEMPFAIL": MailServerUnavailable,
    "LIMIT": TooManyConnections,
    "THROTTLED": Throttled,
    "OVERQUOTA": Throttled,  # Gmail: `[OVERQUOTA] Account exceeded command or bandwidth limits.`
    "CANNOT": LoginNotPossible,
    "CLIENTBUG": LoginNotPossible,
    "ALREADYEXISTS": LoginNotPossible,
    "EXPUNGEISSUED": LoginNotPossible,
}
"""RFC 5530, and other codes that servers send at a login."""

SMTP_CODES: Mapping[str, ErrorType] = {
    "5.7.8": LoginRefused,
    "5.7.11": PrivacyRequired,
    "4.7.12": PasswordExpired,
    "530": PrivacyRequired,
    "538": PrivacyRequired,
    "432": PasswordExpired,
    "500": NoLoginMethod,
    "501": NoLoginMethod,
    "502": NoLoginMethod,
    "504": NoLoginMethod,
}
"""RFC 4954 §6, RFC 5321 §4.2.4: enhanced codes (RFC 3463) and plain ones."""

PHRASES: tuple[tuple[str, ErrorType], ...] = (
    # Gmail
    ("too many simultaneous connections", TooManyConnections),
    ("exceeded command or bandwidth limits", Throttled),
    ("application-specific password", ApplicationPasswordNeeded),
    ("web login required", WebLoginNeeded),
    ("log in via your web browser", WebLoginNeeded),
    ("log in with your web browser", WebLoginNeeded),
    ("not enabled for imap", ImapSwitchedOff),
    # Microsoft
    ("account is blocked. login to your account via a web browser", WebLoginNeeded),
    ("smtpclientauthentication is disabled", SmtpSwitchedOff),
    ("basicauthblocked", PasswordLoginSwitchedOff),
    ("basic authentication is disabled", PasswordLoginSwitchedOff),
    ("security defaults policy", PasswordLoginSwitchedOff),
    ("authenticated but not connected", MailServerUnavailable),
    ("thread limit exceeded", Throttled),
    ("request is throttled", Throttled),
    # Yahoo, AOL, iCloud, Zoho, Yandex
    ("app password", ApplicationPasswordNeeded),
    ("app-specific password", ApplicationPasswordNeeded),
    ("application password", ApplicationPasswordNeeded),
    ("rate limit", Throttled),
    ("yet to enable imap", ImapSwitchedOff),
    ("suspects it may have been hacked", WebLoginNeeded),
    # IMAP or SMTP is switched off, at any provider
    ("imap access is disabled", ImapSwitchedOff),
    ("imap access disabled", ImapSwitchedOff),
    ("imap access is not allowed", ImapSwitchedOff),
    ("imap access not allowed", ImapSwitchedOff),
    ("imap access is not enabled", ImapSwitchedOff),
    ("imap is disabled", ImapSwitchedOff),
    ("imap disabled", ImapSwitchedOff),
    ("imap is not enabled", ImapSwitchedOff),
    ("imap not enabled", ImapSwitchedOff),
    ("imap service is disabled", ImapSwitchedOff),
    ("imap service is not enabled", ImapSwitchedOff),
    ("imap is switched off", ImapSwitchedOff),
    ("imap is turned off", ImapSwitchedOff),
    ("imap neni povolen", ImapSwitchedOff),
    ("imap je vypnut", ImapSwitchedOff),
    ("imap je zakazan", ImapSwitchedOff),
    ("smtp auth is disabled", SmtpSwitchedOff),
    ("smtp access is disabled", SmtpSwitchedOff),
    ("smtp is disabled", SmtpSwitchedOff),
    # Only on encrypted connections
    ("must issue a starttls", PrivacyRequired),
    ("plaintext authentication disallowed", PrivacyRequired),
    ("plaintext authentication not allowed", PrivacyRequired),
    ("cleartext authentication disallowed", PrivacyRequired),
    ("encryption required", PrivacyRequired),
    ("requires encryption", PrivacyRequired),
    # Limits of connections
    ("too many connections", TooManyConnections),
    ("too many concurrent", TooManyConnections),
    ("too many sessions", TooManyConnections),
    ("too many open", TooManyConnections),
    ("maximum number of connections", TooManyConnections),
    ("maximum number of concurrent", TooManyConnections),
    ("maximum connections", TooManyConnections),
    ("max connections", TooManyConnections),
    ("connection limit", TooManyConnections),
    ("connections limit", TooManyConnections),
    ("connections exceeded", TooManyConnections),
    ("number of connections", TooManyConnections),
    ("prilis mnoho pripojeni", TooManyConnections),
    ("prilis mnoho spojeni", TooManyConnections),
    ("prilis mnoho soucasn", TooManyConnections),
    ("prekrocen pocet pripojeni", TooManyConnections),
    ("prekrocen pocet spojeni", TooManyConnections),
    ("prilis vela pripojeni", TooManyConnections),
    ("prilis vela spojeni", TooManyConnections),
    ("zu viele verbindungen", TooManyConnections),
    ("zbyt wiele polaczen", TooManyConnections),
    ("trop de connexions", TooManyConnections),
    # Limits of other things, also of earlier wrong passwords
    ("too many", Throttled),
    ("too frequent", Throttled),
    ("bandwidth", Throttled),
    ("throttl", Throttled),
    ("slow down", Throttled),
    ("limit exceeded", Throttled),
    ("exceeded the limit", Throttled),
    ("prilis mnoho", Throttled),
    ("prilis casto", Throttled),
    ("prilis vela", Throttled),
    ("prekrocen limit", Throttled),
    ("zu viele", Throttled),
    ("zbyt wiele", Throttled),
    ("trop de", Throttled),
    # About the password, whatever else the text says
    ("invalid credentials", LoginRefused),
    ("invalid password", LoginRefused),
    ("incorrect password", LoginRefused),
    ("password is incorrect", LoginRefused),
    ("password incorrect", LoginRefused),
    ("wrong password", LoginRefused),
    ("bad password", LoginRefused),
    ("incorrect username or password", LoginRefused),
    ("invalid username or password", LoginRefused),
    ("username and password not accepted", LoginRefused),
    ("spatne heslo", LoginRefused),
    ("nespravne heslo", LoginRefused),
    ("chybne heslo", LoginRefused),
    ("neplatne heslo", LoginRefused),
    ("neplatne prihlasovaci", LoginRefused),
    ("nespravne prihlasovacie", LoginRefused),
    # Said in passing: that the password was wrong counts more
    ("please enable imap", ImapSwitchedOff),
    ("enable imap access", ImapSwitchedOff),
    # The password has expired
    ("password has expired", PasswordExpired),
    ("password expired", PasswordExpired),
    ("expired password", PasswordExpired),
    ("platnost hesla vyprsela", PasswordExpired),
    ("heslo vyprselo", PasswordExpired),
    # Trouble at the server
    ("temporar", MailServerUnavailable),
    ("try again later", MailServerUnavailable),
    ("try later", MailServerUnavailable),
    ("later again", MailServerUnavailable),
    ("unavailable", MailServerUnavailable),
    ("not available", MailServerUnavailable),
    ("system error", MailServerUnavailable),
    ("system problem", MailServerUnavailable),
    ("internal error", MailServerUnavailable),
    ("internal server error", MailServerUnavailable),
    ("internal failure", MailServerUnavailable),
    ("internal authentication", MailServerUnavailable),
    ("server error", MailServerUnavailable),
    ("server bug", MailServerUnavailable),
    ("backend error", MailServerUnavailable),
    ("lookup failed", MailServerUnavailable),
    ("mailbox in use", MailServerUnavailable),
    ("mailbox is in use", MailServerUnavailable),
    ("already in use", MailServerUnavailable),
    ("mailbox is locked", MailServerUnavailable),
    ("mailbox locked", MailServerUnavailable),
    ("overload", MailServerUnavailable),
    ("busy", MailServerUnavailable),
    ("maintenance", MailServerUnavailable),
    ("shutting down", MailServerUnavailable),
    ("timed out", MailServerUnavailable),
    ("timeout", MailServerUnavailable),
    ("out of memory", MailServerUnavailable),
    ("could not connect", MailServerUnavailable),
    ("cannot connect", MailServerUnavailable),
    ("docasn", MailServerUnavailable),
    ("zkuste to pozdeji", MailServerUnavailable),
    ("zkuste pozdeji", MailServerUnavailable),
    ("zkuste to znovu pozdeji", MailServerUnavailable),
    ("opakujte pozdeji", MailServerUnavailable),
    ("nedostupn", MailServerUnavailable),
    ("neni dostupn", MailServerUnavailable),
    ("pretizen", MailServerUnavailable),
    ("udrzb", MailServerUnavailable),
    ("vnitrni chyba", MailServerUnavailable),
    ("interni chyba", MailServerUnavailable),
    ("chyba serveru", MailServerUnavailable),
    ("skuste neskor", MailServerUnavailable),
    ("skuste to neskor", MailServerUnavailable),
    ("vorubergehend", MailServerUnavailable),
    ("nicht verfugbar", MailServerUnavailable),
    ("spater erneut", MailServerUnavailable),
    ("tymczasow", MailServerUnavailable),
    ("niedostepn", MailServerUnavailable),
    ("sprobuj ponownie pozniej", MailServerUnavailable),
    ("temporaire", MailServerUnavailable),
    ("indisponible", MailServerUnavailable),
    # The account is closed
    ("account is disabled", AccessDenied),
    ("account disabled", AccessDenied),
    ("account has been disabled", AccessDenied),
    ("account is locked", AccessDenied),
    ("account locked", AccessDenied),
    ("account has been locked", AccessDenied),
    ("account is suspended", AccessDenied),
    ("account suspended", AccessDenied),
    ("account has been suspended", AccessDenied),
    ("account is blocked", AccessDenied),
    ("account blocked", AccessDenied),
    ("ucet je zablokov", AccessDenied),
    ("ucet byl zablokov", AccessDenied),
    ("ucet je uzamcen", AccessDenied),
    ("ucet je deaktivov", AccessDenied),
    # The server refuses the method, not the password
    ("mechanism not supported", NoLoginMethod),
    ("unsupported authentication", NoLoginMethod),
    ("unsupported auth", NoLoginMethod),
    ("unknown authentication mechanism", NoLoginMethod),
    ("authentication mechanism is not", NoLoginMethod),
    ("login command is disabled", NoLoginMethod),
    ("login command disabled", NoLoginMethod),
    ("logging in is disabled", NoLoginMethod),
    ("logindisabled", NoLoginMethod),
)
"""Parts of the texts of servers, in lower case without diacritics. The first that is found counts."""

_ENHANCED = re.compile(r"(?m)^(?:\d{3}[ -])?\d\.\d{1,3}\.\d{1,3} ")
"""The code at the beginning of each line of a reply, which would be in the middle of the joined text."""


def by_code(code: str | None, text: str, *, username: str) -> ErrorType | None:
    """The meaning of an IMAP response code. Words may only make it more exact. None: unknown."""
    meant = IMAP_CODES.get(code or "")
    if meant is None or meant is LoginRefused:
        return meant
    said = by_words(text, username=username)
    if said in {ImapSwitchedOff, SmtpSwitchedOff}:
        return said
    is_finer = said is not None and meant is MailServerUnavailable and issubclass(said, meant)
    return said if is_finer else meant


def by_smtp_codes(codes: Iterable[str], text: str, *, username: str) -> ErrorType | None:
    """The meaning of a refusal over SMTP: by its enhanced code, by its words, by its plain code, in this order. The words are
    more exact than `535`, and Gmail uses `534` for several things. None: unknown."""
    plain, *enhanced = codes
    if (meant := next((SMTP_CODES[code] for code in enhanced if code in SMTP_CODES), None)) is not None:
        return meant
    return by_words(_ENHANCED.sub("", text), username=username) or SMTP_CODES.get(plain)


def by_words(text: str, *, username: str) -> ErrorType | None:
    """The meaning of the server's words. None: unknown."""
    words = folded(_without_name(text[:MAX_TEXT_CHARS], username))
    return next((meant for phrase, meant in PHRASES if phrase in words), None)


def folded(text: str) -> str:
    """The text in lower case, without diacritics, with single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ł", "l").replace("Ł", "L"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())


def _without_name(text: str, username: str) -> str:
    for name in _parts(username):
        text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
    return text


def _parts(username: str) -> Iterable[str]:
    """The whole name, then the parts before and after its @."""
    local, at, domain = username.rpartition("@")
    return [
        part for part in ([username, local, domain] if at else [username]) if len(part) >= MIN_MASKED_CHARS
    ]
