"""Encrypts stored secrets with AES-256-GCM. The row is the associated data, and each ciphertext holds the id of its key.

The associated data names table, row and column: a ciphertext that is copied to another row does not decrypt there.
Form: `v1.<key id>.<base64url of nonce and ciphertext>`.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from app.errors import SecretUnreadable

NONCE_OCTETS = 12
KEY_OCTETS = 32
VERSION = "v1"


class SecretBox:
    """Encrypts with the first key, decrypts with any key."""

    def __init__(self, secret_keys: Sequence[SecretStr]) -> None:
        derived = [_derive(key.get_secret_value()) for key in secret_keys]
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self._first_key_id = _key_id(derived[0]) if derived else None

    def encrypt(self, plaintext: str, *, place: str) -> str:
        """Encrypt a secret for one place (`table/row/column`)."""
        if self._first_key_id is None:
            raise SecretUnreadable("No secret key is configured.")
        nonce = secrets.token_bytes(NONCE_OCTETS)
        cipher = self._ciphers[self._first_key_id]
        ciphertext = cipher.encrypt(nonce, plaintext.encode(), _associated_data(place))
        return self.current_start + base64.urlsafe_b64encode(nonce + ciphertext).decode()

    def decrypt(self, ciphertext: str, *, place: str) -> str:
        """Decrypt the secret of one place.

        Raises:
            SecretUnreadable: the key is no longer configured, or the ciphertext belongs to another place.
        """
        try:
            version, key_id, encoded = ciphertext.split(".")
            blob = base64.urlsafe_b64decode(encoded)
            if version != VERSION:
                raise SecretUnreadable
            plaintext = self._ciphers[key_id].decrypt(
                blob[:NONCE_OCTETS], blob[NONCE_OCTETS:], _associated_data(place)
            )
        except (ValueError, KeyError, InvalidTag) as exc:
            raise SecretUnreadable from exc
        return plaintext.decode()

    @property
    def current_start(self) -> str:
        """The beginning of every ciphertext of the first key. `rotate-secrets` encrypts all others anew."""
        return f"{VERSION}.{self._first_key_id}."

    def is_current(self, ciphertext: str) -> bool:
        """Whether the first key encrypted it."""
        return ciphertext.startswith(self.current_start)


def credential_place(connector_id: str) -> str:
    """The place of a connector's credentials."""
    return f"credentials/{connector_id}/ciphertext"


def webhook_place(webhook_id: str) -> str:
    """The place of a webhook's secret."""
    return f"webhooks/{webhook_id}/secret_ciphertext"


def credential_link_place(link_id: str) -> str:
    """The place of a password that was entered by a link and is not confirmed yet. It is stored nowhere."""
    return f"credential_links/{link_id}/password"


def _derive(secret_key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=None, info=b"imap-gateway secretbox v1")
    return derivation.derive(secret_key.encode())


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id" + key).hexdigest()[:8]


def _associated_data(place: str) -> bytes:
    return f"imap-gateway/{place}".encode()
