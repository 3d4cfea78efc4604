"""Who may do what: the table, the lists that must agree with it, and the rules beyond it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlmodel import Session, col

from app.errors import Forbidden, ScopeMissing
from app.models import Connector
from app.services.access import rules
from app.services.access.rules import CONTENT, RULES, SCOPES, Action, Principal, PrincipalKind, Role
from app.states import ConnectorKind
from tests.support.settings import ROOT
from tools.access import (
    ADMINISTRATOR,
    BARE_KEY,
    GRANTED_KEY,
    KEY,
    LIMITED_KEY,
    MEMBER,
    OTHER,
    OWNER,
    case_database,
    outcome,
)

CONNECTORS = ("shared", "personal", "sealed")
EVERYBODY = {
    "administrator": ADMINISTRATOR,
    "owner": OWNER,
    "member": MEMBER,
    "other": OTHER,
    "key": KEY,
    "granted key": GRANTED_KEY,
    "limited key": LIMITED_KEY,
    "bare key": BARE_KEY,
}

# Rows: administrator, owner, member, other, key, granted key; of the shared connector nobody is the owner.
S, P, L = "shared", "personal", "sealed"
A = Action
EXPECTED: dict[tuple[Action, str], str] = {
    (A.SEE_SHORT, S): "yes 404 yes 404 yes yes",
    (A.SEE_SHORT, P): "yes yes 404 404 yes yes",
    (A.SEE_SHORT, L): "yes yes 404 404 yes yes",
    (A.SEE_SETTINGS, S): "yes 404 403 404 yes yes",
    (A.SEE_SETTINGS, P): "yes yes 404 404 yes yes",
    (A.SEE_SETTINGS, L): "yes yes 404 404 yes yes",
    (A.CHANGE_SETTINGS, S): "yes 404 403 404 yes yes",
    (A.CHANGE_SETTINGS, P): "yes yes 404 404 yes yes",
    (A.CHANGE_SETTINGS, L): "yes yes 404 404 yes yes",
    (A.OPERATE, S): "yes 404 403 404 yes yes",
    (A.OPERATE, P): "yes yes 404 404 yes yes",
    (A.OPERATE, L): "yes yes 404 404 yes yes",
    (A.LIST_FOLDERS, S): "yes 404 403 404 yes yes",
    (A.LIST_FOLDERS, P): "403 yes 404 404 403 403",
    (A.LIST_FOLDERS, L): "403 yes 404 404 403 403",
    (A.DELETE_CONNECTOR, S): "yes 404 403 404 yes yes",
    (A.DELETE_CONNECTOR, P): "yes yes 404 404 yes yes",
    (A.DELETE_CONNECTOR, L): "yes yes 404 404 yes yes",
    (A.ENTER_CREDENTIALS, S): "yes 404 403 404 yes yes",
    (A.ENTER_CREDENTIALS, P): "yes yes 404 404 yes yes",
    (A.ENTER_CREDENTIALS, L): "403 yes 404 404 403 403",
    (A.MAKE_CREDENTIAL_LINK, S): "yes 404 403 404 yes yes",
    (A.MAKE_CREDENTIAL_LINK, P): "yes yes 404 404 yes yes",
    (A.MAKE_CREDENTIAL_LINK, L): "yes yes 404 404 yes yes",
    (A.BIND_GROUPS, S): "yes 404 403 404 yes yes",
    (A.BIND_GROUPS, P): "yes 403 404 404 yes yes",
    (A.BIND_GROUPS, L): "yes 403 404 404 yes yes",
    (A.GRANT_KEYS, S): "403 404 403 404 403 403",
    (A.GRANT_KEYS, P): "403 yes 404 404 403 403",
    (A.GRANT_KEYS, L): "403 yes 404 404 403 403",
    (A.READ_CONTENT, S): "404 404 yes 404 yes yes",
    (A.READ_CONTENT, P): "404 yes 404 404 404 yes",
    (A.READ_CONTENT, L): "404 yes 404 404 404 yes",
    (A.WRITE_CONTENT, S): "404 404 yes 404 yes yes",
    (A.WRITE_CONTENT, P): "404 yes 404 404 404 yes",
    (A.WRITE_CONTENT, L): "404 yes 404 404 404 yes",
    (A.SEND, S): "404 404 yes 404 yes yes",
    (A.SEND, P): "404 yes 404 404 404 yes",
    (A.SEND, L): "404 yes 404 404 404 yes",
    (A.SEE_EVENTS, S): "yes 404 yes 404 yes yes",
    (A.SEE_EVENTS, P): "yes yes 404 404 404 yes",
    (A.SEE_EVENTS, L): "yes yes 404 404 404 yes",
}


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    with case_database(database_url) as made:
        yield made


def test_the_table_is_complete() -> None:
    assert set(EXPECTED) == {(action, connector) for action in Action for connector in CONNECTORS}
    assert set(RULES) == set(SCOPES) == set(Action)


def test_every_caller_gets_what_the_table_says(session: Session) -> None:
    callers = (ADMINISTRATOR, OWNER, MEMBER, OTHER, KEY, GRANTED_KEY)
    answered = {
        (action, connector): " ".join(outcome(session, caller, action, connector) for caller in callers)
        for action, connector in EXPECTED
    }
    assert answered == EXPECTED


def test_a_limited_key_sees_nothing_else(session: Session) -> None:
    for action in Action:
        assert {outcome(session, LIMITED_KEY, action, connector) for connector in CONNECTORS} == {"404"}
        if action not in {Action.LIST_FOLDERS, Action.GRANT_KEYS}:
            assert outcome(session, LIMITED_KEY, action, "elsewhere") == "yes"


def test_a_key_without_the_scope_is_refused_even_for_an_absent_object(session: Session) -> None:
    for action in Action:
        for connector in (*CONNECTORS, "absent"):
            assert outcome(session, BARE_KEY, action, connector) == "403"
        one_scope_short = Principal(
            PrincipalKind.KEY, "granted", scopes=frozenset(SCOPES.values()) - {SCOPES[action]}
        )
        assert outcome(session, one_scope_short, action, "shared") == "403"


def test_an_absent_object_is_404_for_everybody(session: Session) -> None:
    for action in Action:
        for caller in (ADMINISTRATOR, OWNER, MEMBER, OTHER, KEY):
            assert outcome(session, caller, action, "absent") == "404"


def test_administrators_who_are_members_or_owners_read_as_such(session: Session) -> None:
    member = Principal(PrincipalKind.USER, "petr", groups=frozenset({"sales"}), is_admin=True)
    owner = Principal(PrincipalKind.USER, "jana", is_admin=True)
    for action in CONTENT:
        assert outcome(session, member, action, "shared") == "yes"
        assert outcome(session, member, action, "personal") == "404"
        assert outcome(session, owner, action, "sealed") == "yes"
    assert outcome(session, owner, Action.ENTER_CREDENTIALS, "sealed") == "yes"


def test_a_key_of_the_owners_name_is_not_the_owner(session: Session) -> None:
    for namesake in (
        Principal(PrincipalKind.KEY, "jana", scopes=KEY.scopes),
        Principal(PrincipalKind.USER, "Jana"),
    ):
        for action in CONTENT:
            assert outcome(session, namesake, action, "personal") == "404"


def test_lists_hold_exactly_what_single_objects_allow(session: Session) -> None:
    for name, caller in EVERYBODY.items():
        if caller is BARE_KEY:
            continue
        for action in (
            Action.SEE_SHORT,
            Action.SEE_SETTINGS,
            Action.BIND_GROUPS,
            Action.SEE_EVENTS,
            *CONTENT,
        ):
            listed = set(
                session.scalars(
                    select(col(Connector.id)).where(
                        col(Connector.id).in_(rules.visible_connector_ids(caller, action))
                    )
                )
            )
            single = {
                connector
                for connector in (*CONNECTORS, "elsewhere")
                if outcome(session, caller, action, connector) == "yes"
            }
            assert listed == single, (name, action)


def test_a_list_asks_for_the_scope_too() -> None:
    for action in Action:
        with pytest.raises(ScopeMissing):
            rules.visible_connectors(BARE_KEY, action)


def test_a_password_from_the_owner_seals_the_connector(session: Session) -> None:
    sealed = {connector for connector in CONNECTORS if rules.is_sealed(session.get_one(Connector, connector))}
    assert sealed == {"sealed"}


@pytest.mark.parametrize(
    ("principal", "kind", "owner", "refusal"),
    [
        (ADMINISTRATOR, ConnectorKind.SHARED, None, None),
        (ADMINISTRATOR, ConnectorKind.PERSONAL, "jana", None),
        (OWNER, ConnectorKind.PERSONAL, "jana", None),
        (OWNER, ConnectorKind.PERSONAL, "petr", Forbidden),
        (OWNER, ConnectorKind.SHARED, None, Forbidden),
        (KEY, ConnectorKind.SHARED, None, None),
        (KEY, ConnectorKind.PERSONAL, "jana", None),
        (LIMITED_KEY, ConnectorKind.SHARED, None, Forbidden),
        (BARE_KEY, ConnectorKind.SHARED, None, ScopeMissing),
    ],
)
def test_administrators_and_keys_create_connectors_and_users_their_own(
    principal: Principal, kind: ConnectorKind, owner: str | None, refusal: type[Exception] | None
) -> None:
    if refusal is None:
        rules.require_may_create(principal, kind=kind, owner=owner)
        return
    with pytest.raises(refusal):
        rules.require_may_create(principal, kind=kind, owner=owner)


def test_administration_is_for_administrators_and_keys_with_the_scope() -> None:
    rules.require_administrator(ADMINISTRATOR, scope="admin")
    rules.require_administrator(Principal(PrincipalKind.KEY, "k", scopes=frozenset({"admin"})), scope="admin")
    for principal in (OWNER, MEMBER, OTHER):
        with pytest.raises(Forbidden):
            rules.require_administrator(principal, scope="admin")
    with pytest.raises(ScopeMissing):
        rules.require_administrator(KEY, scope="admin")


def test_a_key_and_a_user_of_one_id_have_different_names() -> None:
    assert Principal(PrincipalKind.KEY, "x").name != Principal(PrincipalKind.USER, "x").name


def test_every_role_may_something() -> None:
    for role in Role:
        assert any(role in roles for roles in RULES.values())


def test_the_documented_table_is_fresh(session: Session) -> None:
    from tools.access import page

    assert (ROOT / "docs" / "access.md").read_text(encoding="utf-8") == page(session), (
        "stale; run: python -m tools.access > docs/access.md"
    )
