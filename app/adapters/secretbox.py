"""Encrypts stored secrets with AES-256-GCM. The row is the associated data, and each ciphertext holds the id of its key.

The associated data names table, row and column, so a ciphertext that is copied to another row does not decrypt there. In the
second form, it also names the use of the secret, for example the mail servers that get a password. If somebody changes these in
the database without the key, the ciphertext does not decrypt either.
Forms: `v1.<key id>.<base64url of nonce and ciphertext>`; `v2.…`, bound to a use.
"""

import base64
import hashlib
import json
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
UNBOUND, BOUND = "v1", "v2"


class SecretBox:
    """Encrypts with the first key, decrypts with any key."""

    def __init__(self, secret_keys: Sequence[SecretStr]) -> None:
        derived = [_derive(key.get_secret_value()) for key in secret_keys]
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self._first_key_id = _key_id(derived[0]) if derived else None

    def encrypt(self, plaintext: str, *, place: str, use: str | None = None) -> str:
        """Encrypt a secret for one place (`table/row/column`). With `use`: in the second form, for this use only."""
        if self._first_key_id is None:
            raise SecretUnreadable("No secret key is configured.")
        nonce = secrets.token_bytes(NONCE_OCTETS)
        cipher = self._ciphers[self._first_key_id]
        ciphertext = cipher.encrypt(nonce, plaintext.encode(), _associated_data(place, use))
        start = self.current_start(is_bound=use is not None)
        return start + base64.urlsafe_b64encode(nonce + ciphertext).decode()

    def decrypt(self, ciphertext: str, *, place: str, use: str | None = None) -> str:
        """Decrypt the secret of one place; with `use` the second form, without it the first.

        Raises:
            SecretUnreadable: the key is no longer configured, or the ciphertext is of another place, use or form.
        """
        try:
            version, key_id, encoded = ciphertext.split(".")
            blob = base64.urlsafe_b64decode(encoded)
            if version != _form(is_bound=use is not None):
                raise SecretUnreadable
            plaintext = self._ciphers[key_id].decrypt(
                blob[:NONCE_OCTETS], blob[NONCE_OCTETS:], _associated_data(place, use)
            )
        except (ValueError, KeyError, InvalidTag) as exc:
            raise SecretUnreadable from exc
        return plaintext.decode()

    def current_start(self, *, is_bound: bool) -> str:
        """The beginning of every ciphertext of the first key. `rotate-secrets` encrypts all others anew."""
        return f"{_form(is_bound=is_bound)}.{self._first_key_id}."


def is_bound(ciphertext: str) -> bool:
    """Whether it has the second form."""
    return ciphertext.startswith(f"{BOUND}.")


def credential_place(connector_id: str) -> str:
    """The place of a connector's credentials."""
    return f"credentials/{connector_id}/ciphertext"


def webhook_place(webhook_id: str) -> str:
    """The place of a webhook's secret."""
    return f"webhooks/{webhook_id}/secret_ciphertext"


def previous_webhook_place(webhook_id: str) -> str:
    """The place of the secret that a webhook had before."""
    return f"webhooks/{webhook_id}/previous_secret_ciphertext"


def webhook_headers_place(webhook_id: str) -> str:
    """The place of the additional headers for a webhook's receiver."""
    return f"webhooks/{webhook_id}/headers_ciphertext"


def credential_link_place(link_id: str) -> str:
    """The place of a password that was entered by a link and is not confirmed yet. It is stored nowhere."""
    return f"credential_links/{link_id}/password"


def _derive(secret_key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=None, info=b"imap-gateway secretbox v1")
    return derivation.derive(secret_key.encode())


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id" + key).hexdigest()[:8]


def _form(*, is_bound: bool) -> str:
    return BOUND if is_bound else UNBOUND


def _associated_data(place: str, use: str | None) -> bytes:
    if use is None:
        return f"imap-gateway/{place}".encode()
    return json.dumps([f"imap-gateway {BOUND}", place, use]).encode()
