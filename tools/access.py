"""Every kind of caller and every kind of connector, in a database.

`python -m tools.access > docs/access.md` shows what the rules answer. The test of the rules uses the same cases.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import Session

from app import clock, migrations
from app.db import Database
from app.errors import GatewayError
from app.models import ApiKey, Connector, Credential, GroupBinding, KeyGrant
from app.problems import status_of
from app.services.access import rules
from app.services.access.rules import SCOPES, Action, Principal, PrincipalKind
from app.states import ConnectorKind, ConnectorStatus, Security

SCOPES_OF_A_KEY = frozenset(SCOPES.values())

ADMINISTRATOR = Principal(PrincipalKind.USER, "administrator", is_admin=True)
OWNER = Principal(PrincipalKind.USER, "jana", groups=frozenset({"other"}))
MEMBER = Principal(PrincipalKind.USER, "petr", groups=frozenset({"sales", "other"}))
OTHER = Principal(PrincipalKind.USER, "eva", groups=frozenset({"other"}))
KEY = Principal(PrincipalKind.KEY, "key", scopes=SCOPES_OF_A_KEY)
GRANTED_KEY = Principal(PrincipalKind.KEY, "granted", scopes=SCOPES_OF_A_KEY)
LIMITED_KEY = Principal(
    PrincipalKind.KEY, "limited", scopes=SCOPES_OF_A_KEY, connector_limit=frozenset({"elsewhere"})
)
BARE_KEY = Principal(PrincipalKind.KEY, "bare")

SHARED = {
    "administrator": ADMINISTRATOR,
    "member of a bound group": MEMBER,
    "others": OTHER,
    "API key": KEY,
    "API key for others": LIMITED_KEY,
}
PERSONAL = {
    "administrator": ADMINISTRATOR,
    "owner": OWNER,
    "others": OTHER,
    "API key": KEY,
    "API key the owner granted": GRANTED_KEY,
    "API key for others": LIMITED_KEY,
}

HEAD = """\
# Who may do what

This page is generated from `app/services/access/rules.py` (`python -m tools.access > docs/access.md`). A test compares the two.
`yes`: allowed. `404`: for this caller the object does not exist. `403`: the caller sees the object, but may not do this. "API key
for others" is a key that is limited to other connectors. A request without a good token gets 401, and a key without the scope
gets 403, before the gateway checks the body, the parameters or the ids of the request.

Rules that the tables do not show:
- Every user may create a personal connector for themselves. Only administrators, and keys with `connectors:write` that
  are not limited to certain connectors, may create other connectors.
- If another connector has the mailbox, a caller gets 409 only if they may change that connector, and only after it has logged in.
- External ids are unique for each user; those of administrators and keys are unique in the whole installation. A key that is
  limited to certain connectors cannot change external ids. `PUT /connectors/by-external-id/…` finds only connectors that the
  caller may change.
- The kind and the owner of a connector never change. A personal connector takes no group bindings: a caller who may bind groups
  gets 409.
- When the owner of a personal mailbox has entered the password, in the application or by a link, the connector is
  *sealed* for good. From then on others cannot change its folders, its address, `first_fetch` or retention, and cannot enter a
  password. A change of host, port, security or user name discards the stored password. If somebody else makes this change,
  nothing is fetched or sent until the owner has entered the password with their own token. If the owner has always used links, a
  new link is enough, but mail that was queued before waits for the owner's token.
- Webhooks are for administrators and for keys with `webhooks:write`. API keys and the audit trail are for
  administrators and for keys with `admin`. A key cannot create a key with more scopes, more connectors or a later expiry
  than its own. In the audit trail a key that is limited to certain connectors sees only the actions on these.
- `?messages=delete` on the deletion of a connector deletes its stored mail, even if the caller may not read it: the operator of
  the gateway must be able to give up a mailbox. The audit trail records it, with the number of messages.
- The holder of a link for entering a password may enter it once, and sees the settings that the page shows.
- Groups come from the token of each request: a user who leaves a group loses access to its mail with the next token.
"""


@contextmanager
def case_database(url: str) -> Iterator[Session]:
    """A session on a migrated database with the connectors `shared`, `personal` and `sealed`."""
    database = Database(url)
    try:
        with database.unit_of_work() as session:
            _fill(session)
        with database.reading() as session:
            yield session
    finally:
        database.close()


def outcome(session: Session, principal: Principal, action: Action, connector_id: str) -> str:
    """`yes`, or the status of the refusal."""
    try:
        rules.require(session, principal, action, connector_id)
    except GatewayError as refusal:
        return str(status_of(type(refusal)))
    return "yes"


def page(session: Session) -> str:
    """docs/access.md."""
    parts = [HEAD]
    for title, connector_id, callers in (
        ("A shared connector", "shared", SHARED),
        ("A personal connector", "personal", PERSONAL),
        ("A personal connector, sealed", "sealed", PERSONAL),
    ):
        parts.append(f"## {title}\n\n{_table(session, connector_id, callers)}")
    return "\n".join(parts)


def _table(session: Session, connector_id: str, callers: Mapping[str, Principal]) -> str:
    head = ["", *callers, "scope of a key"]
    rows = [head, ["---"] * len(head)]
    for action in Action:
        cells = [outcome(session, caller, action, connector_id) for caller in callers.values()]
        rows.append([action.value, *cells, f"`{SCOPES[action]}`"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _fill(session: Session) -> None:
    now = clock.utc_now()
    for connector_id, kind, owner in (
        ("shared", ConnectorKind.SHARED, None),
        ("elsewhere", ConnectorKind.SHARED, None),
        ("personal", ConnectorKind.PERSONAL, "jana"),
        ("sealed", ConnectorKind.PERSONAL, "jana"),
    ):
        session.add(
            Connector(
                id=connector_id,
                name=connector_id,
                kind=kind,
                owner=owner,
                email_address="info@firma.cz",
                imap_host="imap.firma.cz",
                imap_port=993,
                imap_security=Security.TLS,
                imap_username=connector_id,
                source_folder="INBOX",
                processed_folder="\\Trash",
                poll_interval_s=60,
                sealed_at=now if connector_id == "sealed" else None,
                status=ConnectorStatus.ACTIVE,
                created_at=now,
                updated_at=now,
            )
        )
    for key in (KEY, GRANTED_KEY, LIMITED_KEY, BARE_KEY):
        session.add(
            ApiKey(
                id=key.id,
                name=key.id,
                prefix=key.id,
                sha256="",
                scopes=sorted(key.scopes),
                created_by="user:administrator",
                created_at=now,
            )
        )
    session.flush()
    session.add(GroupBinding(id="binding", connector_id="shared", group="sales", created_at=now))
    for connector_id in ("personal", "sealed"):
        session.add(
            Credential(
                connector_id=connector_id,
                type="password",
                ciphertext="",
            )
        )
        session.add(KeyGrant(api_key_id="granted", connector_id=connector_id, granted_at=now))


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'access.db'}"
        migrations.upgrade(url)
        with case_database(url) as session:
            sys.stdout.write(page(session))


if __name__ == "__main__":
    main()
