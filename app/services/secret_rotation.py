"""Encrypts stored secrets again with the first key, while the service runs.

Each batch is one short transaction. A row is written only if it still holds the value that was read, so a password that
its owner changes meanwhile is not overwritten with the old one. Rows that the first key has already encrypted are
skipped, so a run may be killed and started again. Passwords that are not bound to their servers yet are bound first, as
at the first start after the upgrade.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import false, select, update
from sqlmodel import SQLModel, col

from app.adapters.secretbox import (
    credential_place,
    previous_webhook_place,
    webhook_headers_place,
    webhook_place,
)
from app.errors import SecretUnreadable
from app.gateway import Gateway
from app.models import Connector, Credential, Webhook
from app.services import secret_binding
from app.services.mailboxes.credentials import servers_of

BATCH_ROWS = 100


@dataclass(frozen=True)
class Progress:
    """The progress of a run so far."""

    rotated: int = 0
    unreadable: int = 0
    """Rows that no configured key decrypts. They stay as they are."""

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(self.rotated + other.rotated, self.unreadable + other.unreadable)


@dataclass(frozen=True)
class _Column:
    """A column of secrets, the key of its row, and the place to which each secret is bound."""

    key: Any
    ciphertext: Any
    place: Callable[[str], str]
    table: type[SQLModel]
    is_bound: bool = False
    """Whether each secret is bound to the servers of its connector. The key of the row is the id of the connector."""


_COLUMNS = (
    _Column(
        col(Credential.connector_id), col(Credential.ciphertext), credential_place, Credential, is_bound=True
    ),
    _Column(col(Webhook.id), col(Webhook.secret_ciphertext), webhook_place, Webhook),
    _Column(col(Webhook.id), col(Webhook.previous_secret_ciphertext), previous_webhook_place, Webhook),
    _Column(col(Webhook.id), col(Webhook.headers_ciphertext), webhook_headers_place, Webhook),
)


def rotate(gateway: Gateway) -> Iterator[Progress]:
    """Encrypt again all secrets that another key encrypted. Yields the progress after each batch."""
    secret_binding.bind(gateway)
    progress = Progress()
    for column in _COLUMNS:
        after = ""
        while True:
            last, done = _rotate_batch(gateway, column, after)
            if last is None:
                break
            after = last
            progress += done
            yield progress


def _rotate_batch(gateway: Gateway, column: _Column, after: str) -> tuple[str | None, Progress]:
    """One transaction. Returns the key of the last row, or None if no row was left."""
    rotated = unreadable = 0
    last: str | None = None
    current = gateway.secrets.current_start(is_bound=column.is_bound)
    # Read ciphertext and servers with one statement: a change of servers that keeps the password changes both.
    its_connector = column.key == col(Connector.id) if column.is_bound else false()
    statement = (
        select(column.key, column.ciphertext, Connector)
        .outerjoin(Connector, its_connector)
        .where(column.key > after, ~column.ciphertext.startswith(current, autoescape=True))
        .order_by(column.key)
        .limit(BATCH_ROWS)
    )
    with gateway.db.unit_of_work() as session:
        for key, ciphertext, connector in session.execute(statement).all():
            last = key
            place, use = column.place(key), servers_of(connector) if column.is_bound else None
            try:
                plaintext = gateway.secrets.decrypt(ciphertext, place=place, use=use)
            except SecretUnreadable:
                unreadable += 1
                continue
            written = session.connection().execute(
                update(column.table)
                .where(column.key == key, column.ciphertext == ciphertext)
                .values({column.ciphertext.key: gateway.secrets.encrypt(plaintext, place=place, use=use)})
            )
            rotated += written.rowcount
    return last, Progress(rotated, unreadable)
