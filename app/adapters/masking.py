"""Prepares the words of a mail server to be stored and shown: masks our credentials, removes control characters, cuts.

Servers repeat what they got: a command that they do not understand, a login in an ALERT, a web address that contains the
password. So the mask looks for the user name and the password in each form in which they could have been sent or quoted, in
upper and lower case, and also at the end of a text that was cut off.
"""

import base64
import binascii
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from app.mime.text import clean_line

MASK = "***"
HIDDEN = "(not shown: the password is too short to be looked for in it)"
SERVER_TEXT_MAX_CHARS = 500
READ_CHARS = 4 * SERVER_TEXT_MAX_CHARS
"""How much of a text is masked. It is cut to the shown length afterwards, so that half a password cannot remain."""
MIN_PASSWORD_CHARS = 3
MIN_USER_CHARS = 2
MIN_HALF_CHARS, PART_CHARS = 6, 32
"""Half of a secret, or this much of a long one, is masked anywhere in a text."""
MIN_CUT_CHARS = 4
"""This much of the beginning of a secret is masked at the end of a text."""

_REGISTERED = """
ALERT ALREADYEXISTS APPENDUID AUTHENTICATIONFAILED AUTHORIZATIONFAILED BADCHARSET BADCOMPARATOR BADEVENT
BADURL CANNOT CAPABILITY CLIENTBUG CLOSED COMPRESSIONACTIVE CONTACTADMIN COPYUID CORRUPTION EXPIRED
EXPUNGEISSUED HASCHILDREN HIGHESTMODSEQ INPROGRESS INUSE LIMIT MAILBOXID MAXCONVERTMESSAGES MAXCONVERTPARTS
MESSAGELIMIT METADATA MODIFIED NEWNAME NOMODSEQ NONEXISTENT NOPERM NOPRIVATE NOTSAVED NOTIFICATIONOVERFLOW
NOUPDATE OVERQUOTA PARSE PERMANENTFLAGS PRIVACYREQUIRED READ-ONLY READ-WRITE REFERRAL SERVERBUG TEMPFAIL
THROTTLED TOOBIG TOOMANY TRYCREATE UIDNEXT UIDNOTSTICKY UIDREQUIRED UIDVALIDITY UNAVAILABLE UNDEFINED-FILTER
UNKNOWN-CTE UNSEEN URLMECH USEATTR WEBALERT
"""
REGISTERED_CODES = frozenset(_REGISTERED.split())
"""The registry "IMAP Response Codes" of IANA."""

# Base64 (RFC 4648 §4 and §5), long enough to hold a secret.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4,}+={0,2}")


class Mask:
    """Masks the credentials of one login."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self._password = _as_sent(password)
        self._username = _as_sent(username)
        secrets = {*_spellings(self._password), *_sasl(self._username, self._password)}
        users = set(_spellings(self._username)) if len(self._username) >= MIN_USER_CHARS else set()
        self._secrets = sorted(
            (each for each in secrets if len(each) >= MIN_PASSWORD_CHARS), key=len, reverse=True
        )
        halves = [
            (each, each[: min(PART_CHARS, max(MIN_HALF_CHARS, len(each) // 2))]) for each in self._secrets
        ]
        self._beginnings = [
            (each, re.compile(re.escape(half), re.IGNORECASE))
            for each, half in halves
            if len(half) < len(each)
        ]
        parts = [re.escape(each) for each in self._secrets]
        # A user name may be a common word, for example `info`, so it is masked only as a whole word.
        parts += [rf"(?<!\w){re.escape(each)}(?!\w)" for each in sorted(users, key=len, reverse=True)]
        self._pattern = re.compile("|".join(parts), re.IGNORECASE) if parts else None
        self._octets = [
            each.encode() for each in (self._password, self._username) if len(each) >= MIN_PASSWORD_CHARS
        ]

    def text(self, said: str | None) -> str | None:
        """The words of a server, as one line to show. None: it said nothing."""
        if not said:
            return None
        if 0 < len(self._password) < MIN_PASSWORD_CHARS and self._password in said:
            return HIDDEN
        masked = self._masked(said[:READ_CHARS])
        # Once more, because characters between the parts of a secret may have been removed.
        return self._masked(clean_line(masked, READ_CHARS))[:SERVER_TEXT_MAX_CHARS].strip() or None

    def code(self, code: str | None) -> str | None:
        """A response code. A code that is not registered is masked, because a server may put anything there."""
        return code if code is None or code in REGISTERED_CODES else self.text(code)

    def whole(self, said: str) -> str:
        """A text of several lines, masked and not cut. The caller must limit its length."""
        return self._masked(said)

    def _masked(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        text = _BASE64.sub(self._masked_base64, text)
        return self._without_cut_secret(self._without_beginnings(text))

    def _masked_base64(self, found: re.Match[str]) -> str:
        token = found[0]
        digits = token.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            octets = base64.b64decode(
                digits[: len(digits) - (len(digits) % 4 == 1)] + "=" * (-len(digits) % 4)
            )
        except (binascii.Error, ValueError):
            return token
        return MASK if any(secret in octets for secret in self._octets) else token

    def _without_beginnings(self, text: str) -> str:
        """Mask the first part of a secret if it is long enough: a server may cut off what it quotes."""
        for secret, beginning in self._beginnings:
            text = _masked_on(text, secret, beginning)
        return text

    def _without_cut_secret(self, text: str) -> str:
        """Mask the beginning of a secret at the very end, where the text was cut off within it."""
        end = text.rstrip(" .…\"'")
        for secret in self._secrets:
            for length in range(min(len(secret), len(end), PART_CHARS), MIN_CUT_CHARS - 1, -1):
                if end[-length:].casefold() == secret[:length].casefold():
                    return end[:-length] + MASK
        return text


def _masked_on(text: str, secret: str, beginning: re.Pattern[str]) -> str:
    """Mask the beginning of the secret anywhere in the text, and the characters of the secret that follow it."""
    done: list[str] = []
    position = 0
    while (found := beginning.search(text, position)) is not None:
        end = found.end()
        length = end - found.start()
        while end < len(text) and length < len(secret) and text[end].casefold() == secret[length].casefold():
            end += 1
            length += 1
        done += [text[position : found.start()], MASK]
        position = end
    return "".join([*done, text[position:]])


def _as_sent(text: str | None) -> str:
    """The text in the form in which it is sent to a server, which cannot hold a lone surrogate."""
    return (text or "").encode("utf-8", "replace").decode()


def _spellings(secret: str) -> Iterator[str]:
    """The forms in which a server may repeat one text."""
    if not secret:
        return
    for plain in {secret, unicodedata.normalize("NFC", secret), unicodedata.normalize("NFD", secret)}:
        yield plain
        yield plain.replace("\\", "\\\\").replace('"', '\\"')  # quoted string, RFC 9051 §4.3
        yield quote(plain, safe="")
        yield quote(plain)
        yield quote_plus(plain)
        yield html.escape(plain)
        yield html.escape(plain, quote=False)
        yield json.dumps(plain)[1:-1]
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        octets = plain.encode()
        yield octets.hex()
        yield octets.decode("latin-1")
        yield octets.decode("ascii", "replace")
        for charset in ("latin-1", "windows-1250", "windows-1252"):
            yield plain.encode(charset, "ignore").decode("utf-8", "replace")
        yield from _base64(octets)


def _sasl(username: str, password: str) -> Iterator[str]:
    """The forms that hold user name and password together (RFC 4616)."""
    if not password:
        return
    for authority in ("", username):
        yield from _base64(f"{authority}\0{username}\0{password}".encode())


def _base64(octets: bytes) -> Iterator[str]:
    encoded = base64.b64encode(octets).decode()
    yield encoded
    if encoded.endswith("="):
        yield encoded.rstrip("=")


NOTHING_MASKED = Mask(None, None)
