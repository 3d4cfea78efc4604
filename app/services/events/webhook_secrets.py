"""The secrets of a webhook: those that sign its events, and the headers that its receiver asks for.

For some time after a rotation two secrets sign, so that no event is refused while the receiver still has the previous one. The
headers are for the receiver for which they were entered: scheme, host and port. They are encrypted for this receiver, so they are
sent to no other, even if somebody changes the address in the database.
"""

from collections.abc import Mapping
from datetime import timedelta

import orjson

from app import clock
from app.adapters import webhook_client
from app.adapters.secretbox import previous_webhook_place, webhook_headers_place, webhook_place
from app.adapters.webhook_client import Endpoint
from app.errors import FieldFault, InvalidInput, SecretUnreadable
from app.gateway import Gateway
from app.models import Webhook

HIDDEN = "***"
"""Stands for the value of a header. In a change it keeps the stored value."""
MAX_HEADERS = 20


def new() -> str:
    """A new secret."""
    return webhook_client.new_secret()


def encrypted(gateway: Gateway, webhook_id: str, secret: str) -> str:
    """The present secret of a webhook, for its row."""
    return gateway.secrets.encrypt(secret, place=webhook_place(webhook_id))


def rotate(gateway: Gateway, webhook: Webhook, previous_valid: timedelta) -> str:
    """Set a new secret and return it. The present one becomes the previous one, which also signs for this time.

    Raises:
        SecretUnreadable
    """
    webhook.previous_secret_ciphertext = webhook.previous_secret_until = None
    if previous_valid > timedelta(0):
        present = gateway.secrets.decrypt(webhook.secret_ciphertext, place=webhook_place(webhook.id))
        webhook.previous_secret_ciphertext = gateway.secrets.encrypt(
            present, place=previous_webhook_place(webhook.id)
        )
        webhook.previous_secret_until = clock.utc_now() + previous_valid
    secret = new()
    webhook.secret_ciphertext = encrypted(gateway, webhook.id, secret)
    return secret


def set_headers(gateway: Gateway, webhook: Webhook, headers: Mapping[str, str]) -> None:
    """Store the headers for the receiver. They replace the stored ones.

    Raises:
        InvalidInput: there are too many, two names differ only in case, or a value is the hidden one.
    """
    if len(headers) > MAX_HEADERS:
        raise InvalidInput(FieldFault("/headers", f"must not be more than {MAX_HEADERS}"))
    faults = [
        FieldFault(f"/headers/{name}", "is hidden: enter the value again")
        for name, value in headers.items()
        if value == HIDDEN
    ]
    if len({name.lower() for name in headers}) < len(headers):
        faults.append(FieldFault("/headers", "holds a name twice, in different case"))
    if faults:
        raise InvalidInput(*faults)
    webhook.header_names = list(headers)
    webhook.headers_ciphertext = None
    if headers:
        bound = orjson.dumps({"receiver": _receiver(webhook.url), "headers": dict(headers)}).decode()
        webhook.headers_ciphertext = gateway.secrets.encrypt(bound, place=webhook_headers_place(webhook.id))


def change_headers(
    gateway: Gateway, webhook: Webhook, url: str, changes: Mapping[str, str | None] | None
) -> None:
    """Change the headers before the webhook gets this address. null removes a header, the hidden value keeps it. Headers that were
    entered for another receiver are removed.

    Raises:
        InvalidInput, SecretUnreadable
    """
    is_same = _receiver(url) == _receiver(webhook.url)
    if changes is None and is_same:
        return
    kept = _headers(gateway, webhook) if is_same else {}
    for name, value in (changes or {}).items():
        if value == HIDDEN and name in kept:
            continue
        kept = {each: stored for each, stored in kept.items() if each.lower() != name.lower()}
        if value is not None:
            kept[name] = value
    webhook.url = url
    set_headers(gateway, webhook, kept)


def endpoint(gateway: Gateway, webhook: Webhook) -> Endpoint:
    """The address, secrets and headers with which events are sent to the webhook now.

    Raises:
        SecretUnreadable
    """
    signing = [gateway.secrets.decrypt(webhook.secret_ciphertext, place=webhook_place(webhook.id))]
    previous, until = webhook.previous_secret_ciphertext, webhook.previous_secret_until
    if previous is not None and until is not None and until > clock.utc_now():
        signing.append(gateway.secrets.decrypt(previous, place=previous_webhook_place(webhook.id)))
    return Endpoint(webhook.url, tuple(signing), webhook.body, _headers(gateway, webhook))


def receiver_of(webhook: Webhook) -> str:
    """Host and port."""
    return _receiver(webhook.url).partition("//")[2]


def _headers(gateway: Gateway, webhook: Webhook) -> dict[str, str]:
    if webhook.headers_ciphertext is None:
        return {}
    stored = gateway.secrets.decrypt(webhook.headers_ciphertext, place=webhook_headers_place(webhook.id))
    bound = orjson.loads(stored)
    if bound["receiver"] != _receiver(webhook.url):
        raise SecretUnreadable
    headers: dict[str, str] = bound["headers"]
    return headers


def _receiver(url: str) -> str:
    address = webhook_client.address_of(url)
    if address is None:
        return url
    return f"{'http' if address.is_plain else 'https'}://{address.host.lower()}:{address.port}"
