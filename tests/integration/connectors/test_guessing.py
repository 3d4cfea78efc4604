"""Guessing passwords through the gateway, by every route and by mixing them: at the real service over HTTP, with its jobs."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import TooManyRefusedLogins
from app.login_budget import LoginBudget
from app.services.mailboxes.login_tries import AT_ONE_MAILBOX
from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until
from tools.servers.scripted_imap import ScriptedImap, Session
from tools.servers.smtp import SmtpServer

NUMBERS = itertools.count(1)
RIGHT = "the-right-one"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("guessing")
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, POLL_INTERVAL_S="1") as made:
        yield made


@pytest.fixture
def victim() -> Iterator[ScriptedImap]:
    def judge(session: Session, tag: bytes, command: bytes) -> bool | None:
        if RIGHT.encode() in command:
            return None
        session.send(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
        return True

    with ScriptedImap() as server:
        server.on(rb"LOGIN", judge)
        yield server


@pytest.fixture
def user() -> str:
    """Somebody's name on the victim's server, which no other test uses."""
    return f"ceo{next(NUMBERS)}"


@pytest.fixture
def bob() -> dict[str, str]:
    return Callers.user("bob")


def guesses(victim: ScriptedImap) -> int:
    return len(victim.sent("LOGIN"))


def tried(victim: ScriptedImap, user: str, password: str = "guess", **imap: Any) -> dict[str, Any]:
    server = {"host": victim.host, "port": victim.port, "security": "none", "username": user, **imap}
    return {"imap": server, "credentials": {"type": "password", "password": password}}


def made(client: httpx.Client, headers: dict[str, str], body: dict[str, Any], owner: str = "bob") -> str:
    values = {
        "name": "box",
        "kind": "personal",
        "owner": owner,
        "email_address": f"{owner}@firma.cz",
        "first_fetch": "all",
        "source_folder": f"F{next(NUMBERS)}",
    }
    answer = client.post("/connectors", json={**values, **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def caller(name: str, *, admin: bool = False) -> dict[str, str]:
    """A caller whose budget no other test uses."""
    return Callers.user(f"{name}{next(NUMBERS)}", admin=admin)


def spent(client: httpx.Client, headers: dict[str, str], body: dict[str, Any], times: int = 10) -> list[int]:
    """The statuses of so many tests of wrong passwords."""
    return [client.post("/connectors/test", json=body, headers=headers).status_code for _ in range(times)]


def test_the_sweep_tries_ten_passwords_of_one_caller_at_a_mailbox_however_many_connectors(
    client: httpx.Client, victim: ScriptedImap, user: str
) -> None:
    name = f"bob{next(NUMBERS)}"
    headers = Callers.user(name)
    ids = [made(client, headers, tried(victim, user, f"guess {each}"), owner=name) for each in range(14)]
    wait_until(lambda: guesses(victim) >= AT_ONE_MAILBOX, WAIT_S, "the guesses of the sweep")

    def codes() -> set[str | None]:
        shown = [client.get(f"/connectors/{each}", headers=headers).json()["last_error"] for each in ids]
        return {error["code"] if error else None for error in shown}

    wait_until(lambda: "too_many_refused_logins" in codes(), WAIT_S, "a connector that waits")
    fetched = [client.post(f"/connectors/{each}/fetch", headers=headers) for each in ids]
    refused = [each for each in fetched if each.status_code == 429]
    assert refused
    assert {each.json()["code"] for each in refused} == {"too_many_refused_logins"}
    assert all(1 <= int(each.headers["Retry-After"]) <= 60 for each in refused)
    for each in ids[:7]:
        client.delete(f"/connectors/{each}", headers=headers)
    ids.append(made(client, headers, tried(victim, user, RIGHT), owner=name))
    assert client.post(f"/connectors/{ids[-1]}/fetch", headers=headers).status_code == 429
    assert guesses(victim) == AT_ONE_MAILBOX
    # Neither another mailbox of this caller nor this mailbox's owner waits.
    assert spent(client, headers, tried(victim, f"{user}x"), 1) == [200]
    jana = f"jana{next(NUMBERS)}"
    own = made(client, Callers.user(jana), tried(victim, user, RIGHT), owner=jana)
    answer = client.post(f"/connectors/{own}/fetch", headers=Callers.user(jana))
    assert answer.status_code in {200, 409}, answer.text


SPELLINGS: list[Callable[[ScriptedImap, str], dict[str, Any]]] = [
    lambda _, user: {"username": user.upper()},
    lambda _, user: {"username": f"{user}@firma.cz"},
    lambda _, user: {"username": f"FIRMA\\{user}"},
    lambda _, user: {"username": f"{user}+spam"},
    lambda _, user: {"username": f"{user} "},
    lambda *_: {"host": "localhost"},
    lambda *_: {"host": "LOCALHOST"},
    lambda *_: {"host": "127.1"},
]


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_another_spelling_of_the_mailbox_gives_no_more_tries(
    client: httpx.Client, victim: ScriptedImap, user: str, number: int
) -> None:
    name = f"bob{next(NUMBERS)}"
    headers = Callers.user(name)
    assert spent(client, headers, tried(victim, user)) == [200] * AT_ONE_MAILBOX
    assert guesses(victim) == AT_ONE_MAILBOX
    # A second connector, because a caller may make ten tests a minute.
    spelled = tried(victim, user)
    spelled["imap"] = {**spelled["imap"], **SPELLINGS[number](victim, user)}
    one = made(client, headers, spelled, owner=name)
    answer = client.post(f"/connectors/{one}/fetch", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_refused_logins")
    assert guesses(victim) == AT_ONE_MAILBOX


def test_new_keys_give_no_more_tries(client: httpx.Client, victim: ScriptedImap, user: str) -> None:
    scopes = {"name": "k", "scopes": ["admin", "connectors:write"]}
    headers = caller("administrator", admin=True)
    statuses: list[int] = []
    for _ in range(4):
        key = client.post("/api-keys", json=scopes, headers=headers)
        assert key.status_code == 201, key.text
        headers = {"Authorization": f"Bearer {key.json()['key']}"}
        statuses += spent(client, headers, tried(victim, user), 4)
    assert statuses == [200] * 10 + [429] * 6
    assert guesses(victim) == AT_ONE_MAILBOX


def test_a_server_that_cuts_the_connection_or_answers_oddly_gives_no_more_tries(
    client: httpx.Client, victim: ScriptedImap, user: str
) -> None:
    def cut(session: Session, _tag: bytes, command: bytes) -> bool | None:
        return None if RIGHT.encode() in command else False

    victim.well()
    victim.on(rb"LOGIN", cut)
    name = f"bob{next(NUMBERS)}"
    headers = Callers.user(name)
    assert spent(client, headers, tried(victim, user)) == [200] * AT_ONE_MAILBOX
    one = made(client, headers, tried(victim, user), owner=name)
    assert client.post(f"/connectors/{one}/fetch", headers=headers).status_code == 429


def test_smtp_counts_with_imap_and_so_does_sending(client: httpx.Client, user: str) -> None:
    name = f"bob{next(NUMBERS)}"
    headers = Callers.user(name)
    with ScriptedImap() as own, SmtpServer(user=user, password=RIGHT, auth_required=True) as victim:
        smtp = {"host": victim.host, "port": victim.port, "security": "none", "username": user}
        # Of one password two are refused, however many connectors have it.
        tries = [{**tried(own, "mine", f"guess {number}"), "smtp": smtp} for number in range(14)]
        ids = [made(client, headers, each, owner=name) for each in tries]
        for each in ids:
            mail = {"connector_id": each, "to": ["a@firma.cz"], "subject": "s", "text": "t"}
            assert client.post("/submissions", json=mail, headers=headers).status_code == 201

        def details() -> list[str | None]:
            sent = client.get("/submissions?limit=200", headers=headers).json()["data"]
            return [each["recipients"][0]["detail"] for each in sent]

        wait_until(lambda: "too many logins" in str(details()), WAIT_S, "a mail that waits")
        answer = client.post("/connectors/test", json={**tried(own, "mine"), "smtp": smtp}, headers=headers)
        assert answer.status_code == 429
        assert victim.login_attempts == AT_ONE_MAILBOX
        waiting = client.get("/submissions?limit=200&status=queued", headers=headers).json()["data"]
        assert {each["status"] for each in waiting} == {"queued"}


def test_tries_by_links_are_limited_and_the_makers_own_tries_do_not_lock_a_link_out(
    client: httpx.Client, victim: ScriptedImap, user: str
) -> None:
    admin = caller("administrator", admin=True)

    def link() -> str:
        body = tried(victim, user)
        del body["credentials"]
        one = made(client, admin, body, owner="jana")
        return str(client.post(f"/connectors/{one}/credential-links", headers=admin).json()["url"])

    def check(url: str, password: str) -> int:
        page = client.get(url).text
        seen = page.partition('name="seen" value="')[2].partition('"')[0]
        return client.post(url, data={"step": "check", "seen": seen, "password": password}).status_code

    assert spent(client, admin, tried(victim, user)) == [200] * AT_ONE_MAILBOX
    statuses = [check(url, "guess") for url in [link() for _ in range(4)] for _ in range(4)]
    assert statuses == [422] * 10 + [429] * 6
    assert guesses(victim) == 2 * AT_ONE_MAILBOX
    assert check(link(), RIGHT) == 429  # the maker's links have had their tries
    other = caller("administrator", admin=True)
    admin = other
    assert check(link(), RIGHT) == 200


class TestTheBudget:
    def test_logins_under_way_count_and_those_that_succeed_are_given_back(self) -> None:
        budget = LoginBudget()
        first, second = budget.take({"a": 2}), budget.take({"a": 2, "b": 9})
        with pytest.raises(TooManyRefusedLogins):
            budget.take({"a": 2})
        first.end(refused=False)
        first.end(refused=True)  # it has ended already
        third = budget.take({"a": 2})
        second.end(refused=True)
        third.end(refused=True)
        with pytest.raises(TooManyRefusedLogins) as caught:
            budget.take({"a": 2})
        assert 1 <= caught.value.retry_after_s <= 61
        budget.take({"b": 2}).end(refused=False)

    def test_a_name_that_only_counts_does_not_hinder(self) -> None:
        budget = LoginBudget()
        for _ in range(3):
            budget.take({"links": 9}, also=["own"]).end(refused=True)
        with pytest.raises(TooManyRefusedLogins):
            budget.take({"own": 3})
        budget.take({"links": 9}, also=["own"])
