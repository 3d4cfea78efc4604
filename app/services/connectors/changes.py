"""The consequences of a change of settings.

Host, port, security and user name decide who gets the password. A change of one of them discards the stored password, unless the
request contains a new one. Otherwise somebody could enter a server of their own and get the password that the owner of the mailbox
has entered.
"""

from pydantic import SecretStr
from sqlmodel import Session

from app import clock
from app.errors import Forbidden
from app.gateway import Gateway
from app.models import Connector, Credential
from app.schemas.connectors import ConnectorPut, ConnectorSettings
from app.services.access import rules
from app.services.access.rules import Action, Principal
from app.services.connectors import passwords
from app.services.connectors.settings import has_same_servers, settings_of, write
from app.services.connectors.status import settle
from app.services.fetching import ledger, possession
from app.services.mailboxes import credentials
from app.services.sending import bindings
from app.services.sending.rates import forget_rate, rates_of
from app.states import ConnectorStatus

_OWNERS_CHOICES = {
    "email_address": "the address",
    "aliases": "from which addresses is sent",
    "from_name": "the sender's name",
    "first_fetch": "which of the mail that was there is taken",
    "retention": "how long mail is kept",
}
"""The settings of a sealed connector, besides the folders, that only the owner can change; in words, for the error."""


def apply(
    session: Session,
    gateway: Gateway,
    principal: Principal,
    connector: Connector,
    *,
    wanted: ConnectorSettings,
    password: SecretStr | None,
) -> None:
    """Write the settings, and apply the consequences of each change.

    Raises:
        Forbidden, InvalidInput, AlreadyExists, MailboxTaken
    """
    new_servers = not has_same_servers(connector, wanted)
    new_mailbox = (connector.imap_host, connector.imap_port, connector.imap_username) != (
        wanted.imap.host,
        wanted.imap.port,
        wanted.imap.username,
    )
    new_source = connector.source_folder != wanted.source_folder
    by_others = rules.is_sealed(connector) and not rules.is_owner(principal, connector)
    if by_others:
        _require_same_privacy(connector, wanted)
    answers_question = (
        connector.status == ConnectorStatus.AWAITING_CONFIRMATION and wanted.first_fetch is not None
    )
    credential = session.get(Credential, connector.id)
    secret = credentials.stored(session, connector, credential) if credential is not None else None
    before, old_rates = bindings.made_for(connector), rates_of(connector)
    write(connector, wanted, gateway.settings.poll_interval_s)
    if new_mailbox or new_source:
        connector.logged_in_at = None
        require_free_mailbox(session, principal, connector)
    if new_servers:
        connector.provider_files_sent = None
    if rates_of(connector) != old_rates:
        forget_rate(connector)
    if new_mailbox:
        ledger.leave_places(session, connector.id)
    if new_mailbox or new_source:
        connector.baseline_uidvalidity = connector.baseline_uidnext = connector.baseline_at = None
    if new_servers:
        credentials.discard(session, connector.id, by=principal)
        if by_others:
            connector.awaits_owner_since = clock.utc_now()
        elif rules.is_owner(principal, connector) and connector.awaits_owner_since is None:
            bindings.release(session, connector)
    else:
        credentials.keep(session, gateway, connector, secret)
        bindings.follow(session, connector, before)
    if password is not None:
        rules.require_on(session, principal, Action.ENTER_CREDENTIALS, connector)
        passwords.enter(session, gateway, principal, connector, password)
    anew = new_servers or new_source or answers_question or password is not None
    settle(session, connector, anew=anew, is_pointed_elsewhere=by_others and new_servers)


def _require_same_privacy(connector: Connector, wanted: ConnectorSettings) -> None:
    """For a sealed connector, refuse changes by others of settings that belong to the owner: which mail is read, kept and moved,
    and the names and addresses of sent mail."""
    if (connector.source_folder, connector.processed_folder) != (
        wanted.source_folder,
        wanted.processed_folder,
    ):
        raise Forbidden("The owner has entered the credentials, so only the owner may change the folders.")
    present = settings_of(connector)
    for name, words in _OWNERS_CHOICES.items():
        if getattr(present, name) != getattr(wanted, name):
            raise Forbidden(f"The owner has entered the credentials, so only the owner may change {words}.")


def with_owners_choices(connector: Connector, body: ConnectorPut) -> ConnectorPut:
    """The settings with which somebody else replaces a sealed connector. A setting that the request leaves out stays as the owner
    chose it, and does not get its default."""
    present = settings_of(connector)
    left_out = {
        name: getattr(present, name)
        for name in ("source_folder", "processed_folder", *_OWNERS_CHOICES)
        if name not in body.model_fields_set
    }
    if not body.retention.model_fields_set:
        left_out["retention"] = present.retention
    return body.model_copy(update=left_out)


def require_free_mailbox(session: Session, principal: Principal, connector: Connector) -> None:
    """Refuse a folder of a mailbox that another connector has, if the caller may change that connector. Other callers get no
    error here: their connector is stopped after its login.

    Raises:
        MailboxTaken
    """
    may_change = rules.visible_connectors(principal, Action.CHANGE_SETTINGS)
    possession.require_free(session, connector, among=may_change)
