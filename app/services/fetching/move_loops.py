"""Move loops: connectors of one mailbox that move mail in a circle, for example from INBOX to Done and from Done to INBOX. Mail
would move for ever, so the connector that would close the loop does not fetch.

Only connectors count that logged in to the mailbox before this one. So nobody can stop a mailbox by a connector that they add later,
with or without the password: the later connector is the one that does not fetch."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlmodel import Session, col

from app.adapters.imap import Folder
from app.models import Connector
from app.services.mailboxes import folders


def is_closed_by(
    session: Session, connector: Connector, server_folders: Sequence[Folder], target: str, prefix: str
) -> bool:
    """Whether earlier connectors move mail from the target folder back to the source folder of this connector."""
    statement = select(Connector).where(
        col(Connector.imap_host) == connector.imap_host,
        col(Connector.imap_port) == connector.imap_port,
        col(Connector.imap_username) == connector.imap_username,
        col(Connector.id) != connector.id,
        col(Connector.logged_in_at).is_not(None),
    )
    by_source: dict[str, Connector] = {}
    for other in session.execute(statement).scalars():
        if not _is_earlier(other, connector):
            continue
        found = folders.find_named(server_folders, other.source_folder, prefix)
        if found is not None:
            by_source[folders.comparable(found.name)] = other
    source = folders.find_named(server_folders, connector.source_folder, prefix)
    if source is None:
        return False
    at = folders.comparable(target)
    for _ in range(len(by_source)):
        if at not in by_source:
            return False
        onwards = folders.find_processed(server_folders, by_source[at].processed_folder, prefix)
        if onwards is None:
            return False
        at = folders.comparable(onwards.name)
        if at == folders.comparable(source.name):
            return True
    return False


def _is_earlier(other: Connector, connector: Connector) -> bool:
    if other.logged_in_at is None or connector.logged_in_at is None:
        return other.logged_in_at is not None
    return (other.logged_in_at, other.id) < (connector.logged_in_at, connector.id)
