"""Connectors by their external id: for scripts that may run twice.

A dry run does everything that the real one does, and is undone in the end. So its answer is what the real one would say.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlmodel import Session

from app.errors import AlreadyExists, NotFound, PreconditionFailed, WrongState
from app.gateway import Gateway
from app.models import Connector
from app.schemas.connectors import ConnectorPut
from app.services.access import group_bindings, rules
from app.services.access.audit import differences
from app.services.access.rules import Action, Principal
from app.services.connectors import addresses, connectors, external_ids
from app.services.connectors.changes import apply, with_owners_choices
from app.services.connectors.detailed import Detailed, detailed, require_version
from app.services.connectors.settings import audited_settings, has_same_servers
from app.services.mailboxes import credentials, login_tries
from app.services.mailboxes.login_tries import Login

STORED, NEW = "stored", "new"
"""What is told of credentials before and after."""


@dataclass(frozen=True)
class Put:
    """The connector after the request, and what the request changed."""

    detailed: Detailed
    is_new: bool
    changes: dict[str, list[Any]]
    """For each setting that changed, the value before and the value after."""


class _Undone(Exception):
    """The end of a dry run."""

    def __init__(self, found: Put) -> None:
        super().__init__()
        self.found = found


def get(session: Session, principal: Principal, external_id: str) -> Detailed:
    """The connector with this external id.

    Raises:
        ScopeMissing, NotFound
    """
    connector = external_ids.find(session, principal, external_id, to=Action.SEE_SHORT)
    if connector is None:
        raise NotFound
    return detailed(session, principal, connector)


def delete(
    gateway: Gateway,
    principal: Principal,
    external_id: str,
    *,
    with_messages: bool,
    cancel_submissions: bool = False,
    version: str | None = None,
) -> None:
    """Delete the connector with this external id, as `connectors.delete_connector` does.

    Raises:
        NotFound, and the errors of `connectors.delete_connector`
    """
    with gateway.db.reading() as session:
        connector = external_ids.find(session, principal, external_id, to=Action.SEE_SHORT)
    if connector is None:
        raise NotFound
    connectors.delete_connector(
        gateway,
        principal,
        connector.id,
        with_messages=with_messages,
        cancel_submissions=cancel_submissions,
        version=version,
    )


def put(
    gateway: Gateway,
    principal: Principal,
    external_id: str,
    body: ConnectorPut,
    *,
    version: str | None = None,
    dry_run: bool = False,
) -> Put:
    """Store a connector under its external id, or replace all settings of the existing one. Groups, aliases and credentials
    that the request leaves out stay, but credentials stay only with their servers. `dry_run`: store nothing.

    Raises:
        ScopeMissing, Forbidden, InvalidInput, MailboxTaken, TooManyConnectors
        TooManyRefusedLogins: too many dry runs with other credentials than the stored ones.
        WrongState: kind or owner are others than the stored ones.
        PreconditionFailed: as in `connectors.patch`, and if there is no connector yet.
    """
    rules.require_scope(principal, "connectors:write")
    addresses.require_allowed(gateway, imap=body.imap, smtp=body.smtp)
    request = _Request(gateway, principal, external_id, body, version, dry_run)
    try:
        return request.run()
    except AlreadyExists:
        # If somebody has just created it, this is a replacement.
        return request.run(must_exist=True)


@dataclass(frozen=True)
class _Request:
    gateway: Gateway
    principal: Principal
    external_id: str
    body: ConnectorPut
    version: str | None
    dry_run: bool

    def run(self, *, must_exist: bool = False) -> Put:
        try:
            with self.gateway.db.unit_of_work() as session:
                found = self._put(session, must_exist=must_exist)
                if self.dry_run:
                    session.flush()
                    session.expunge_all()  # what is undone would forget its values
                    raise _Undone(found)
                return found
        except _Undone as undone:
            return undone.found

    def _put(self, session: Session, *, must_exist: bool) -> Put:
        found = external_ids.find(session, self.principal, self.external_id, lock=True)
        if found is not None:
            return self._replace(session, found)
        if must_exist:
            raise AlreadyExists(external_ids.TAKEN)
        if self.version is not None:
            raise PreconditionFailed
        rules.require_may_create(self.principal, kind=self.body.kind, owner=self.body.owner)
        made = connectors.insert(session, self.gateway, self.principal, self.body, self.external_id)
        return Put(detailed(session, self.principal, made), True, differences({}, _state(session, made)))

    def _replace(self, session: Session, connector: Connector) -> Put:
        body, principal = self.body, self.principal
        rules.require_on(session, principal, Action.CHANGE_SETTINGS, connector)
        require_version(session, connector, self.version)
        if (body.kind, body.owner) != (connector.kind, connector.owner):
            raise WrongState("Kind and owner of a connector never change.")
        if "aliases" not in body.model_fields_set:
            body = body.model_copy(update={"aliases": connector.aliases})
        if rules.is_sealed(connector) and not rules.is_owner(principal, connector):
            body = with_owners_choices(connector, body)
        settings, before = audited_settings(connector), _state(session, connector)
        password = self._new_password(session, connector)
        apply(session, self.gateway, principal, connector, wanted=body, password=password)
        if body.groups is not None:
            group_bindings.set_groups(session, principal, connector, body.groups)
        connectors.record_changes(session, principal, connector, settings)
        changes = differences(before, _state(session, connector))
        if password is not None:
            changes["credentials"] = [before["credentials"], NEW]
        return Put(detailed(session, principal, connector), False, changes)

    def _new_password(self, session: Session, connector: Connector) -> SecretStr | None:
        """The password of the request; None if it has none, or it is the stored one."""
        given = self.body.credentials
        if given is None:
            return None
        rules.require_on(session, self.principal, Action.ENTER_CREDENTIALS, connector)
        found = credentials.with_settings(session, connector.id)
        if found is None or found[1] is None or not has_same_servers(connector, self.body):
            return given.password
        secret = credentials.stored(session, connector, found[1])
        password = given.password.get_secret_value()
        if not self.dry_run:
            is_stored = credentials.is_stored_one(self.gateway, secret, password)
            return None if is_stored else given.password
        # It changes nothing, so it could be asked for ever: a wrong password counts as one that the server has refused.
        server = self.body.imap
        tries = login_tries.of_caller(session, self.principal.name)
        with login_tries.taken(
            self.gateway, tries, Login("imap", server.host, server.port, server.username)
        ) as place:
            is_stored = credentials.is_stored_one(self.gateway, secret, password)
            place.end(refused=not is_stored)
        return None if is_stored else given.password


def _state(session: Session, connector: Connector) -> dict[str, Any]:
    """What the answer compares: settings, groups, and whether there are credentials."""
    return {
        **audited_settings(connector),
        "groups": group_bindings.groups_of(session, connector.id) or None,
        "credentials": STORED if credentials.exist(session, connector.id) else None,
    }
