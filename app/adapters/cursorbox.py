"""Encrypts the cursors of lists with AES-SIV (RFC 5297), so that a caller learns nothing from them.

A position counts the events of all callers, and an id contains the time at which it was made. So a cursor is encrypted, for one
list only, with its own nonce: equal positions give different texts, all of one length. AES-SIV stays safe even if two nonces are
equal, which may happen after very many cursors.
Form: `v1.<base64url of nonce, tag and ciphertext>`.
"""

import base64
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_OCTETS = 64
NONCE_OCTETS = 12
POSITION_OCTETS = 47
"""A number, or a time and an id, filled up to this length. With nonce and tag it makes a text without padding."""
START = "v1."
"""Cursors of the earlier form were base64url without this start, so they hold no dot."""


class CursorUnreadable(ValueError):
    """It is not a cursor of this list and this installation."""


@dataclass(frozen=True)
class CursorKey:
    """The key of an installation's cursors, and what is known about cursors that were not encrypted."""

    key: bytes
    made_at: datetime
    last_plain_position: int
    """The end of the feed when the key was made. No cursor from before that time is beyond it."""


class CursorBox:
    """Encrypts positions in lists, and decrypts them again."""

    def __init__(self, key: CursorKey) -> None:
        self.key = key
        self._cipher = AESSIV(key.key)

    def encrypt(self, position: str, *, place: str) -> str:
        """The cursor for a position in a list. Two cursors of one position differ."""
        plaintext = position.encode().ljust(POSITION_OCTETS, b"\0")
        if len(plaintext) > POSITION_OCTETS:
            raise ValueError("a position that is longer than any id")
        nonce = secrets.token_bytes(NONCE_OCTETS)
        encrypted = self._cipher.encrypt(plaintext, [_associated_data(place), nonce])
        return START + base64.urlsafe_b64encode(nonce + encrypted).decode()

    def decrypt(self, cursor: str, *, place: str) -> str:
        """The position in a cursor.

        Raises:
            CursorUnreadable
        """
        try:
            blob = base64.b64decode(cursor.removeprefix(START), altchars=b"-_", validate=True)
            nonce, encrypted = blob[:NONCE_OCTETS], blob[NONCE_OCTETS:]
            plaintext = self._cipher.decrypt(encrypted, [_associated_data(place), nonce])
        except (ValueError, InvalidTag) as exc:
            raise CursorUnreadable from exc
        return plaintext.rstrip(b"\0").decode()


class CursorKeeper:
    """Keeps the box of an installation after its first use, because its key never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._box: CursorBox | None = None

    def box(self, read: Callable[[], CursorKey]) -> CursorBox:
        """The box. `read` reads its key from the database. It is called until it succeeds for the first time."""
        with self._lock:
            if self._box is None:
                self._box = CursorBox(read())
            return self._box


def new_key() -> bytes:
    """A random key."""
    return AESSIV.generate_key(KEY_OCTETS * 8)


def _associated_data(place: str) -> bytes:
    return f"imap-gateway cursor {START}{place}".encode()
