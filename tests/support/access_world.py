"""Connectors of every kind with all that belongs to one, and everybody who may call: the ground of the test that
walks every route."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args

from sqlalchemy import select, update
from sqlmodel import SQLModel, col

from app import clock
from app.gateway import Gateway
from app.ids import new_id
from app.models import ApiKey, Connector, Cycle, GroupBinding, Quarantined
from app.schemas.api_keys import Scope
from app.schemas.events import WebhookCreate
from app.schemas.submissions import SubmissionAttachment, SubmissionCreate
from app.services.access.audit import NamedActor
from app.services.access.rules import Principal, PrincipalKind
from app.services.events import webhooks
from app.services.fetching import quarantine
from app.services.fetching.ledger import NumberedFolder
from app.services.mailboxes import credentials
from app.services.sending import submissions
from app.states import CycleOutcome, SealedBy
from tests.support.callers import Callers, bearer, user_token
from tests.support.route_calls import NOBODY_LISTENS, SERVER
from tests.support.stored_mail import connector, store, with_attachment

ALL_SCOPES: tuple[str, ...] = get_args(Scope)
KINDS = ("shared", "personal", "sealed")
GROUP = "sales"
OWNER = "jana"
ADMINISTRATOR = Principal(PrincipalKind.USER, "administrator", is_admin=True)


class World:
    """Objects that are made when they are first asked for, and again after a call has changed them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._callers = Callers(gateway)
        self._elsewhere = connector(gateway)
        self._granted_id, granted = self._callers.new_key(ALL_SCOPES)
        self._held: dict[str, dict[str, Any]] = {}
        self._without: dict[str, dict[str, str]] = {}
        self.callers: dict[str, dict[str, str]] = {
            "administrator": Callers.user("administrator", admin=True),
            "administrator who is a member": Callers.user("petra", groups=[GROUP], admin=True),
            "owner": Callers.user(OWNER, groups=["others"]),
            "member": Callers.user("petr", groups=[GROUP, "others"]),
            "others": Callers.user("eva", groups=["others"]),
            "API key": self._callers.key(ALL_SCOPES),
            "granted API key": bearer(granted),
            "API key for others": self._callers.key(ALL_SCOPES, [self._elsewhere.id]),
        }

    def without_a_good_token(self) -> dict[str, dict[str, str]]:
        """Callers who are not known."""
        expired_id, expired = self._callers.new_key(ALL_SCOPES)
        revoked_id, revoked = self._callers.new_key(ALL_SCOPES)
        an_hour_ago = clock.utc_now() - timedelta(hours=1)
        with self.gateway.db.unit_of_work() as session:
            for key_id, end in ((expired_id, "expires_at"), (revoked_id, "revoked_at")):
                session.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values({end: an_hour_ago}))
        return {
            "no token": {},
            "an expired token": bearer(user_token("administrator", admin=True, exp=1)),
            "garbage for a token": bearer("garbage"),
            "an unsigned token": bearer(user_token("administrator", admin=True).rpartition(".")[0] + "."),
            "an expired API key": bearer(expired),
            "a revoked API key": bearer(revoked),
        }

    def key_without(self, scope: str) -> dict[str, str]:
        """A key with all scopes but one."""
        if scope not in self._without:
            self._without[scope] = self._callers.key([each for each in ALL_SCOPES if each != scope])
        return self._without[scope]

    def key_without_scopes(self) -> dict[str, str]:
        """A key that may do nothing at all."""
        return self._callers.key([])

    def objects(self, kind: str) -> Mapping[str, Any]:
        """The values for the `{…}` in a call about an object of this kind. `absent`: ids that no object has."""
        if kind == "absent":
            names = ("connector", "external_id", "message", "quarantined", "submission", "binding")
            return {
                **{
                    name: new_id()
                    for name in (*names, "webhook", "api_key", "granted_key", "new", "username")
                },
                "kind": "personal",
                "owner": OWNER,
            }
        if kind not in self._held:
            self._held[kind] = self._made(kind)
        return {**self._held[kind], "new": new_id()}

    def forget(self, kind: str) -> None:
        """The objects of this kind have been changed: the next call gets new ones."""
        self._held.pop(kind, None)

    def snapshot(self) -> dict[str, list[str]]:
        """All that is stored, but for when which key was used."""
        with self.gateway.db.reading() as session:
            return {
                table.name: sorted(
                    repr(tuple(row))
                    for row in session.execute(
                        select(*(column for column in table.columns if column.name != "last_used_at"))
                    )
                )
                for table in SQLModel.metadata.sorted_tables
            }

    def _made(self, kind: str) -> dict[str, Any]:
        owner = None if kind == "shared" else OWNER
        settings = {f"{name}_{key}": value for name in ("imap", "smtp") for key, value in SERVER.items()}
        username = new_id()
        made = connector(
            self.gateway,
            owner=owner,
            # Bound even if it is personal: a group must not make anybody a reader of a personal mailbox.
            groups=[GROUP],
            key_ids=[self._granted_id] if owner else [],
            external_id=new_id(),
            **settings,
            imap_username=username,
            smtp_username=username,
        )
        reader = (
            Principal(PrincipalKind.USER, OWNER)
            if owner
            else Principal(PrincipalKind.USER, "petr", groups=frozenset({GROUP}))
        )
        [message] = store(self.gateway, made, with_attachment('attachment; filename="offer.pdf"'))
        self._enter_password(made.id, by_owner=kind == "sealed")
        queued = submissions.create(
            self.gateway,
            reader,
            SubmissionCreate(
                connector_id=made.id,
                to=["eva@firma.cz"],
                text="Hello",
                attachments=[SubmissionAttachment(name="a.txt", content_base64="eA==")],
            ),
        )
        return {
            "connector": made.id,
            "external_id": made.external_id,
            "kind": made.kind,
            "owner": owner,
            "username": username,
            "message": message,
            "submission": queued.submission.id,
            **self._rows_of(made),
            "webhook": webhooks.create(
                self.gateway,
                ADMINISTRATOR,
                WebhookCreate(url=f"http://127.0.0.1:{NOBODY_LISTENS}/hook", connector_ids=[made.id]),
            ).row.id,
            "api_key": self._callers.new_key(ALL_SCOPES)[0],
            "granted_key": self._granted_id,
        }

    def _enter_password(self, connector_id: str, *, by_owner: bool) -> None:
        by = NamedActor(f"user:{OWNER}" if by_owner else "user:administrator")
        with self.gateway.db.unit_of_work() as session:
            row = session.get_one(Connector, connector_id)
            password = "not what the server takes"
            credentials.enter(
                session, self.gateway, row, password, by=by, sealing=SealedBy.TOKEN if by_owner else None
            )

    def _rows_of(self, made: Connector) -> dict[str, str]:
        """A cycle; a quarantined mail and a binding, whose ids these are."""
        with self.gateway.db.unit_of_work() as session:
            session.add(
                Cycle(id=new_id(), connector_id=made.id, started_at=clock.utc_now(), outcome=CycleOutcome.OK)
            )
            place = NumberedFolder(made.id, made.source_folder, uidvalidity=1)
            quarantine.record_failure(session, place, 999, reason="too_large", at_once=True)
            return {
                name: session.scalars(select(col(table.id)).where(col(table.connector_id) == made.id)).one()
                for name, table in (("quarantined", Quarantined), ("binding", GroupBinding))
            }
