"""Logins at servers that offer little, ask in strange ways or refuse: the method, the number of tries, the error."""

import base64
import re
import ssl
from collections.abc import Callable

import pytest

from app.adapters import imap
from app.adapters.imap import ConnectionPolicy, ImapSession, ServerAddress
from app.adapters.network import NetworkPolicy
from app.config import Settings
from app.errors import ConnectionLost, MailServerError, MailServerTimeout
from app.states import Security
from tools.servers.dovecot import Dovecot
from tools.servers.scripted_imap import CAPABILITIES, ScriptedImap, Session, hangs_up, says

USER, PASSWORD = "jana@firma.cz", "planted"
ODD_USER, ODD_PASSWORD = "uživatel", "žluťoučký kůň"
BARE = b"IMAP4rev1"


def policy(timeout_s: float = 20.0) -> ConnectionPolicy:
    loopback = Settings(allowed_private_networks="127.0.0.0/8").allowed_private_networks
    return ConnectionPolicy(NetworkPolicy(loopback), ssl.create_default_context(), 5.0, timeout_s, 1_000_000)


def logged_in(
    server: ScriptedImap,
    user: str = USER,
    password: str = PASSWORD,
    *,
    then: Callable[[ImapSession], object] = lambda session: session.list_folders(),
    timeout_s: float = 20.0,
) -> None:
    address = ServerAddress(server.host, server.port, Security.NONE, user)
    with imap.connect(address, password, policy(timeout_s)) as session:
        then(session)


def error_of(server: ScriptedImap, user: str = USER, password: str = PASSWORD) -> MailServerError:
    with pytest.raises(MailServerError) as caught:
        logged_in(server, user, password)
    return caught.value


def tries(server: ScriptedImap) -> list[str]:
    """The commands that tried to log in, without what they carried."""
    return [
        " ".join(each.split()[: 2 if each.startswith("AUTH") else 1]) for each in server.sent("LOGIN |AUTH")
    ]


class TestTheMethod:
    @pytest.mark.parametrize(
        ("capabilities", "user", "password", "wanted"),
        [
            (BARE, USER, PASSWORD, ["LOGIN"]),
            (BARE + b" AUTH=PLAIN AUTH=LOGIN SASL-IR", USER, PASSWORD, ["LOGIN"]),
            (BARE + b" LOGINDISABLED AUTH=PLAIN", USER, PASSWORD, ["AUTHENTICATE PLAIN"]),
            (BARE + b" logindisabled auth=plain sasl-ir", USER, PASSWORD, ["AUTHENTICATE PLAIN"]),
            (BARE + b" LOGINDISABLED AUTH=LOGIN SASL-IR", USER, PASSWORD, ["AUTHENTICATE LOGIN"]),
            (
                BARE + b" LOGINDISABLED AUTH=XOAUTH2 AUTH=LOGIN AUTH=PLAIN",
                USER,
                PASSWORD,
                ["AUTHENTICATE PLAIN"],
            ),
            (BARE + b" AUTH=PLAIN", ODD_USER, ODD_PASSWORD, ["AUTHENTICATE PLAIN"]),
            (BARE + b" AUTH=LOGIN", USER, ODD_PASSWORD, ["AUTHENTICATE LOGIN"]),
            (BARE, USER, ODD_PASSWORD, ["LOGIN"]),
            (BARE, ODD_USER, ODD_PASSWORD, ["LOGIN"]),
        ],
    )
    def test_is_one_that_the_server_offers_and_carries_what_was_entered(
        self, capabilities: bytes, user: str, password: str, wanted: list[str]
    ) -> None:
        with ScriptedImap(capabilities=capabilities) as server:
            logged_in(server, user, password)
            assert tries(server) == wanted
            if wanted == ["LOGIN"]:
                assert _login_arguments(server) == (user, password)
            else:
                assert server.logins == [(wanted[0].split()[1], user, password)]

    @pytest.mark.parametrize(
        "answer", [b"BAD unknown command", b"BAD", b"NO LOGIN command disabled", b"NO Logging in is disabled"]
    )
    def test_gives_way_to_the_next_where_it_is_not_understood(self, answer: bytes) -> None:
        with ScriptedImap(capabilities=BARE + b" AUTH=PLAIN") as server:
            server.on(b"LOGIN", says(answer))
            logged_in(server)
            assert tries(server) == ["LOGIN", "AUTHENTICATE PLAIN"]

    @pytest.mark.parametrize("answer", [b"NO unsupported authentication mechanism", b"NO no", b"BAD what"])
    def test_that_is_refused_before_it_got_a_password_gives_way_too(self, answer: bytes) -> None:
        with ScriptedImap(capabilities=BARE + b" LOGINDISABLED AUTH=PLAIN AUTH=LOGIN") as server:
            server.on(b"AUTHENTICATE PLAIN", says(answer))
            logged_in(server)
            assert tries(server) == ["AUTHENTICATE PLAIN", "AUTHENTICATE LOGIN"]

    @pytest.mark.parametrize("capabilities", [CAPABILITIES, BARE + b" AUTH=PLAIN AUTH=LOGIN SASL-IR"])
    def test_is_not_changed_after_a_refused_password(self, capabilities: bytes) -> None:
        with ScriptedImap(capabilities=capabilities) as server:
            server.on(b"LOGIN|AUTHENTICATE", says(b"NO LOGIN failed."))
            assert error_of(server).code == "login_refused"
            assert len(tries(server)) == 1

    def test_that_the_gateway_does_not_know_is_told(self) -> None:
        with ScriptedImap(capabilities=BARE + b" AUTH=XOAUTH2") as server:
            server.on(b"LOGIN", says(b"BAD no"))
            assert error_of(server).code == "login_not_understood"
        with ScriptedImap(capabilities=BARE + b" LOGINDISABLED AUTH=CRAM-MD5") as server:
            assert error_of(server).code == "privacy_required"
            assert tries(server) == []

    def test_of_a_server_that_hangs_up_over_the_next_one_is_told_by_the_first(self) -> None:
        with ScriptedImap(capabilities=BARE + b" AUTH=PLAIN") as server:
            server.on(b"LOGIN", says(b"BAD what"))
            server.on(b"AUTHENTICATE", lambda *_: False)
            assert error_of(server).code == "login_not_understood"


class TestAContinuationRequest:
    def test_after_an_initial_response_gets_it_again(self) -> None:
        def asks(session: Session, tag: bytes, command: bytes) -> bool:
            given = command.split(b" ")[2]
            session.send(tag + (b" OK in\r\n" if session.ask(b"") == given else b" NO no\r\n"))
            return True

        with ScriptedImap(capabilities=BARE + b" LOGINDISABLED AUTH=PLAIN SASL-IR") as server:
            server.on(b"AUTHENTICATE", asks)
            logged_in(server)

    @pytest.mark.parametrize("then", [b"BAD cancelled", b"OK in after all"])
    def test_that_nobody_expects_is_cancelled(self, then: bytes) -> None:
        def asks(session: Session, tag: bytes, _command: bytes) -> bool:
            assert session.ask(b"more?") == b"*"
            session.send(tag + b" " + then + b"\r\n")
            return True

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", asks)
            if then.startswith(b"OK"):
                logged_in(server)
            else:
                assert error_of(server).code == "login_not_understood"

    def test_again_and_again_ends_the_connection(self) -> None:
        def asks(session: Session, _tag: bytes, _command: bytes) -> bool:
            while session.ask(b"more?"):
                pass
            return False

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", asks)
            assert isinstance(error_of(server), ConnectionLost)


class TestARefusal:
    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (b"NO [AUTHENTICATIONFAILED] try again later", "login_refused"),
            (b"no [authenticationfailed]", "login_refused"),
            (b"BAD [AUTHENTICATIONFAILED] no", "login_refused"),
            (b"NO Invalid credentials (Failure)", "login_refused"),
            (b"NO [ALERT] Invalid credentials (Failure)", "login_refused"),
            (b"NO", "login_refused"),
            (b"NO [X-SOMETHING] LOGIN failed.", "login_refused"),
            (b"NO " + "Špatné jméno nebo heslo".encode(), "login_refused"),
            (b"NO [NONEXISTENT] no such user", "login_refused"),
            (b"NO [EXPIRED] x", "password_expired"),
            (b"NO [PRIVACYREQUIRED] x", "privacy_required"),
            (b"NO [CONTACTADMIN] x", "administrator_needed"),
            (b"NO [AUTHORIZATIONFAILED] x", "authorization_failed"),
            (b"NO [NOPERM] x", "access_denied"),
            (b"NO [ALERT] Your account is not enabled for IMAP use.", "imap_switched_off"),
            (b"NO [WEBALERT https://accounts.google.com/x] Web login required", "web_login_needed"),
            (b"NO [ALERT] Application-specific password required", "application_password_needed"),
            (b"NO [UNAVAILABLE] x", "mail_server_unavailable"),
            (b"NO [INUSE] x", "mail_server_unavailable"),
            (b"NO [SERVERBUG] x", "mail_server_unavailable"),
            (b"NO [CORRUPTION] x", "mail_server_unavailable"),
            (b"NO [LIMIT] x", "too_many_connections"),
            (b"NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", "throttled"),
            (b"NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", "throttled"),
            (b"NO [CANNOT] x", "login_not_possible"),
            (b"NO [CLIENTBUG] x", "login_not_possible"),
            (b"NO [ALERT] Too many simultaneous connections. (Failure)", "too_many_connections"),
            (b"NO " + "Služba je dočasně nedostupná".encode(), "mail_server_unavailable"),
            (b"BAD [UNAVAILABLE] Service temporarily unavailable", "mail_server_unavailable"),
            (b"BAD", "login_not_understood"),
            (b"BAD what", "login_not_understood"),
        ],
    )
    def test_is_told_as_what_it_is(self, answer: bytes, code: str) -> None:
        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", says(answer))
            error = error_of(server)
            assert error.code == code
            assert PASSWORD not in repr(error.__dict__)
            assert len(tries(server)) == 1

    @pytest.mark.parametrize("beside", [b"* NO Too many connections", b"* BAD [LIMIT] x", b"* BYE [LIMIT] x"])
    def test_is_explained_by_what_the_server_says_beside_it(self, beside: bytes) -> None:
        def script(session: Session, tag: bytes, _command: bytes) -> bool:
            session.send(beside + b"\r\n" + tag + b" NO LOGIN failed.\r\n")
            return False

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", script)
            assert error_of(server).code == "too_many_connections"

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            (b"* BYE gone\r\n", "connection_lost"),
            (b"* BYE [AUTHENTICATIONFAILED] no\r\n", "login_refused"),
            (b"* BYE Too many connections\r\n", "too_many_connections"),
            (b"* BYE [UNAVAILABLE] later\r\n", "mail_server_unavailable"),
            (b"* BYE\r\n", "connection_lost"),
            (b"", "connection_lost"),
            (b"* OK half a li", "connection_lost"),
        ],
    )
    def test_by_hanging_up_counts_as_what_was_said_with_it(self, said: bytes, code: str) -> None:
        def script(session: Session, _tag: bytes, _command: bytes) -> bool:
            session.send(said)
            return False

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", script)
            assert error_of(server).code == code

    def test_that_comes_after_a_bye_is_a_refusal(self) -> None:
        def script(session: Session, tag: bytes, _command: bytes) -> bool:
            session.send(b"* BYE closing\r\n" + tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
            return False

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", script)
            assert error_of(server).code == "login_refused"

    def test_that_never_comes_is_a_timeout(self) -> None:
        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", lambda *_: True)
            with pytest.raises(MailServerTimeout):
                logged_in(server, timeout_s=0.5)


class TestCapabilities:
    @pytest.mark.parametrize("where", ["greeting", "answer", "beside the answer", "asked"])
    def test_are_those_after_the_login_wherever_they_are_told(self, where: str) -> None:
        told = CAPABILITIES + b" X-AFTER"

        def script(session: Session, tag: bytes, _command: bytes) -> bool:
            session.server.scripts.pop(0)
            if where == "asked":
                session.server.scripts.clear()
                session.server.capabilities = told
            if where == "beside the answer":
                session.send(b"* CAPABILITY " + told + b"\r\n")
            code = b"[CAPABILITY " + told + b"] " if where == "answer" else b""
            session.send(tag + b" OK " + code + b"in\r\n")
            return True

        with ScriptedImap(capabilities=BARE) as server:
            server.on(b"LOGIN", script)
            server.on(b"CAPABILITY", says(b"BAD no"))
            if where == "greeting":
                server.greeting = b"* OK [CAPABILITY " + told + b"] ready\r\n"
            found: list[frozenset[str]] = []
            logged_in(server, then=lambda session: found.append(session.capabilities))
            assert {"X-AFTER", "MOVE"} <= found[0]

    def test_that_nobody_tells_leave_a_login_by_the_oldest_method(self) -> None:
        with ScriptedImap() as server:
            server.on(b"CAPABILITY", says(b"NO no"))
            logged_in(server)
            assert tries(server) == ["LOGIN"]


class TestIdentification:
    def test_is_said_once_after_the_login_where_it_is_offered(self) -> None:
        with ScriptedImap(capabilities=CAPABILITIES + b" ID") as server:
            logged_in(server, then=lambda session: session.select("INBOX"))
            verbs = [command.split()[0] for command in server.commands]
            assert verbs.index("LOGIN") < verbs.index("ID") < verbs.index("SELECT")
            assert verbs.count("ID") == 1
            assert re.fullmatch(r'ID \("name" "imap-gateway" "version" "[0-9.a-z]+"\)', server.sent("ID ")[0])

    def test_is_not_said_where_it_is_not_offered(self) -> None:
        with ScriptedImap() as server:
            logged_in(server)
            assert server.sent("ID ") == []

    @pytest.mark.parametrize("answer", [b"BAD no", b"NO no", b"OK", b"NO [UNAVAILABLE] later"])
    def test_that_is_refused_changes_nothing(self, answer: bytes) -> None:
        with ScriptedImap(capabilities=CAPABILITIES + b" ID") as server:
            server.on(b"ID ", says(answer))
            logged_in(server)

    @pytest.mark.parametrize(
        "beside",
        [b"* ID NIL", b'* ID ("name" {3}\r\nxyz "version" NIL)', b"* ID", b"* OK hello", b"nonsense"],
    )
    def test_may_be_answered_with_anything(self, beside: bytes) -> None:
        def script(session: Session, tag: bytes, _command: bytes) -> bool:
            session.send(beside + b"\r\n" + tag + b" OK done\r\n")
            return True

        with ScriptedImap(capabilities=CAPABILITIES + b" ID") as server:
            server.on(b"ID ", script)
            logged_in(server)

    def test_at_which_the_server_hangs_up_is_a_lost_connection(self) -> None:
        with ScriptedImap(capabilities=CAPABILITIES + b" ID") as server:
            server.on(b"ID ", hangs_up)
            assert isinstance(error_of(server), ConnectionLost)


@pytest.mark.parametrize("mechanisms", ["plain", "login", "plain login"])
def test_dovecot_takes_a_password_beyond_ascii_and_hears_who_we_are(mechanisms: str) -> None:
    extra = f"auth_mechanisms = {mechanisms}"
    with Dovecot(password="příliš-žluťoučký", extra=extra) as server:
        address = ServerAddress(server.host, server.port, Security.NONE, server.new_user())
        with imap.connect(address, server.password, policy()) as session:
            assert "ID" in session.capabilities
            assert session.select("INBOX").exists == 0


def _login_arguments(server: ScriptedImap) -> tuple[str, str]:
    """User name and password of the one LOGIN, quoted or as literals."""
    [command] = server.sent("LOGIN ")
    octets = command.encode("latin-1")
    literals = re.fullmatch(rb"LOGIN \{\d+\}(.+) \{\d+\}(.+)", octets, re.DOTALL)
    quoted = re.fullmatch(rb'LOGIN "(.+)" "(.+)"', octets)
    found = literals or quoted
    assert found is not None, octets
    return found[1].decode(), found[2].decode()


def test_a_password_goes_out_as_base64_alone_in_plain() -> None:
    with ScriptedImap(capabilities=BARE + b" LOGINDISABLED AUTH=PLAIN SASL-IR") as server:
        logged_in(server)
        [command] = server.sent("AUTHENTICATE")
        assert base64.b64decode(command.split()[2]) == f"\0{USER}\0{PASSWORD}".encode()
