"""Whatever goes wrong between the gateway and a mail server is told as what it is, at the served gateway over HTTP."""

import base64
import contextlib
import itertools
import re
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.callers import Callers
from tests.support.served_gateway import served_gateway
from tools.servers.bad_certificates import OTHER_NAMES, BadCertificates
from tools.servers.process import free_port
from tools.servers.scripted_imap import CAPABILITIES, ScriptedFolder, ScriptedImap, says
from tools.servers.speaker import answers, hangs_up, is_silent, says_at_once, speaking, speaks_http

NUMBERS = itertools.count()
USER, PASSWORD = "jana.nováková@firma.cz", 'Tajné "heslo" 7\\%'
COMMAND_TIMEOUT_S = 6.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def bad(folder: Path) -> BadCertificates:
    return BadCertificates(folder)


@pytest.fixture(scope="module")
def client(sqlite_template: Path, folder: Path, bad: BadCertificates) -> Iterator[httpx.Client]:
    shutil.copyfile(sqlite_template, folder / "gateway.db")
    limits = {"RUN_JOBS": "false", "COMMAND_TIMEOUT_S": str(COMMAND_TIMEOUT_S), "CONNECT_TIMEOUT_S": "2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bad.authority_file))
        with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder, **limits) as made:
            yield made


def an_administrator() -> dict[str, str]:
    """Another one each time: nobody tries too often."""
    return Callers.user(f"administrator-{next(NUMBERS)}", admin=True)


def server(port: int, security: str, username: str = "user") -> dict[str, Any]:
    return {"host": "localhost", "port": port, "security": security, "username": username}


def tried(client: httpx.Client, imap: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The report of a test of these settings."""
    body = {"imap": imap, "credentials": {"type": "password", "password": "password"}, **more}
    answer = client.post("/connectors/test", json=body, headers=an_administrator())
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def connector(client: httpx.Client, imap: dict[str, Any], password: str = "password", **more: Any) -> str:
    body = {
        "name": "told",
        "kind": "shared",
        "email_address": "told@firma.cz",
        "imap": imap,
        "credentials": {"type": "password", "password": password},
        "first_fetch": "all",
        **more,
    }
    answer = client.post("/connectors", json=body, headers=an_administrator())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def fetched(client: httpx.Client, connector_id: str) -> dict[str, Any]:
    """The connector as its administrator sees it after a fetch."""
    answer = client.post(f"/connectors/{connector_id}/fetch", headers=an_administrator())
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = client.get(f"/connectors/{connector_id}", headers=an_administrator()).json()
    return shown


OPEN = b"* OK [CAPABILITY IMAP4rev1] ready\r\n"
OFFERS_STARTTLS = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"
NO_STARTTLS = answers(OPEN, b"%T BAD unknown\r\n")
Kind = Callable[[BadCertificates], AbstractContextManager[int]]


def plain(speak: Callable[..., None]) -> Kind:
    return lambda _bad: speaking(speak)


def in_tls(which: str, greeting: bytes = OPEN) -> Kind:
    return lambda bad: speaking(says_at_once(greeting), tls=getattr(bad, which))


def after_starttls(which: str) -> Kind:
    """In plain text at first, as IMAP and as SMTP have it."""

    def kind(bad: BadCertificates) -> AbstractContextManager[int]:
        context: ssl.SSLContext = getattr(bad, which)

        def speak(connection: Any) -> None:
            connection.sendall(OFFERS_STARTTLS)
            while line := _line(connection):
                tag = line.split(b" ")[0]
                connection.sendall(tag + b" OK\r\n")
                if b"STARTTLS" in line:
                    context.wrap_socket(connection, server_side=True).recv(1)

        return speaking(speak)

    return kind


def after_starttls_of_smtp(which: str) -> Kind:
    def kind(bad: BadCertificates) -> AbstractContextManager[int]:
        context: ssl.SSLContext = getattr(bad, which)

        def speak(connection: Any) -> None:
            connection.sendall(b"220 smtp ready\r\n")
            while line := _line(connection):
                connection.sendall(b"220 go\r\n" if b"STARTTLS" in line else b"250 STARTTLS\r\n")
                if b"STARTTLS" in line:
                    context.wrap_socket(connection, server_side=True).recv(1)

        return speaking(speak)

    return kind


def _line(connection: Any) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        octet = connection.recv(1)
        if not octet:
            return b""
        line += octet
    return line


POP3 = says_at_once(b"+OK Dovecot ready.\r\n")
SMTP = says_at_once(b"220 mail.firma.cz ESMTP Postfix\r\n")

IMAP_FAULTS: dict[str, tuple[Kind, str, str, str]] = {
    # what is there, what is configured, the code, what the sentence says
    "plain IMAP, TLS asked": (plain(NO_STARTTLS), "tls", "not_tls", "993"),
    "IMAP with STARTTLS, TLS asked": (
        plain(answers(OFFERS_STARTTLS, b"%T OK\r\n")),
        "tls",
        "not_tls",
        "starttls",
    ),
    "TLS, STARTTLS asked": (in_tls("good"), "starttls", "tls_expected", "security to tls"),
    "TLS, plain text asked": (in_tls("good"), "none", "tls_expected", "security to tls"),
    "TLS that nobody should believe, STARTTLS asked": (in_tls("expired"), "starttls", "tls_expected", "tls"),
    "no STARTTLS": (plain(NO_STARTTLS), "starttls", "starttls_not_offered", "security tls"),
    "TLS 1.0": (in_tls("old_version"), "tls", "tls_too_old", "TLS 1.2"),
    "TLS 1.0 after STARTTLS": (after_starttls("old_version"), "starttls", "tls_too_old", "TLS 1.2"),
    "expired": (in_tls("expired"), "tls", "certificate_expired", "2020-03-01"),
    "expired after STARTTLS": (
        after_starttls("expired"),
        "starttls",
        "certificate_expired",
        "2020-03-01",
    ),
    "not yet valid": (in_tls("not_yet_valid"), "tls", "certificate_not_yet_valid", "2090-03-01"),
    "another name": (
        in_tls("other_name"),
        "tls",
        "certificate_for_other_name",
        ", ".join(OTHER_NAMES) + ", not for localhost",
    ),
    "another name after STARTTLS": (
        after_starttls("other_name"),
        "starttls",
        "certificate_for_other_name",
        ", ".join(OTHER_NAMES),
    ),
    "an issuer nobody knows": (in_tls("issuer_unknown"), "tls", "certificate_issuer_unknown", "issuer"),
    "self-signed": (in_tls("self_signed"), "tls", "certificate_self_signed", "self-signed"),
    "POP3": (plain(POP3), "none", "not_imap", "POP3"),
    "POP3, STARTTLS asked": (plain(POP3), "starttls", "not_imap", "POP3"),
    "POP3, TLS asked": (plain(POP3), "tls", "not_imap", "POP3"),
    "POP3 in TLS": (in_tls("good", b"+OK ready\r\n"), "tls", "not_imap", "POP3"),
    "SMTP": (plain(SMTP), "none", "not_imap", "SMTP"),
    "SMTP, TLS asked": (plain(SMTP), "tls", "not_imap", "SMTP"),
    "the web": (plain(speaks_http), "none", "not_imap", "web server"),
    "the web, TLS asked": (plain(speaks_http), "tls", "not_imap", "web server"),
    "SSH": (plain(says_at_once(b"SSH-2.0-OpenSSH_9.2\r\n")), "none", "not_imap", "SSH"),
    "something": (plain(says_at_once(b"what do you want?\r\n")), "none", "not_imap", "something else"),
    "half a line": (plain(says_at_once(b"what")), "none", "not_imap", "something else"),
    "nothing": (plain(is_silent), "none", "no_greeting", "sent no greeting"),
    "nothing in TLS": (in_tls("good", b""), "tls", "no_greeting", "sent no greeting"),
    "nothing, TLS asked": (plain(is_silent), "tls", "no_greeting", "sent no greeting"),
    "the end": (plain(hangs_up), "none", "connection_lost", "without a greeting"),
    "the end, TLS asked": (plain(hangs_up), "tls", "connection_lost", "lost"),
}


@pytest.mark.parametrize("what", IMAP_FAULTS)
def test_what_is_wrong_with_an_imap_server_is_told(
    client: httpx.Client, bad: BadCertificates, what: str
) -> None:
    kind, security, code, words = IMAP_FAULTS[what]
    with kind(bad) as port:
        report = tried(client, server(port, security))
    assert report["imap"]["code"] == code, report
    assert words in report["imap"]["detail"]


def test_a_port_at_which_nobody_listens_is_told(client: httpx.Client) -> None:
    assert tried(client, server(free_port(), "tls"))["imap"]["code"] == "connection_refused"


SMTP_FAULTS: dict[str, tuple[Kind, str, str, str]] = {
    "plain SMTP, TLS asked": (
        plain(answers(b"220 smtp ready\r\n", b"250 smtp\r\n")),
        "tls",
        "not_tls",
        "465",
    ),
    "SMTP with STARTTLS, TLS asked": (
        plain(answers(b"220 smtp ready\r\n", b"250-smtp\r\n250 STARTTLS\r\n")),
        "tls",
        "not_tls",
        "starttls",
    ),
    "TLS, STARTTLS asked": (in_tls("good"), "starttls", "tls_expected", "security to tls"),
    "no STARTTLS": (
        plain(answers(b"220 smtp ready\r\n", b"250 smtp\r\n", b"502 5.5.1 unknown\r\n")),
        "starttls",
        "starttls_not_offered",
        "security tls",
    ),
    "TLS 1.0": (in_tls("old_version"), "tls", "tls_too_old", "TLS 1.2"),
    "expired after STARTTLS": (
        after_starttls_of_smtp("expired"),
        "starttls",
        "certificate_expired",
        "2020-03-01",
    ),
    "another name": (in_tls("other_name"), "tls", "certificate_for_other_name", OTHER_NAMES[1]),
    "self-signed": (in_tls("self_signed"), "tls", "certificate_self_signed", "self-signed"),
    "IMAP": (plain(NO_STARTTLS), "none", "not_smtp", "an IMAP server"),
    "the web": (plain(speaks_http), "starttls", "not_smtp", "web server"),
    "FTP": (plain(says_at_once(b"220 (vsFTPd 3.0.5)\r\n")), "none", "not_smtp", "FTP"),
    "nothing": (plain(is_silent), "starttls", "no_greeting", "sent no greeting"),
    "the end": (plain(hangs_up), "none", "connection_lost", "without a greeting"),
}


@pytest.mark.parametrize("what", SMTP_FAULTS)
def test_what_is_wrong_with_an_smtp_server_is_told(
    client: httpx.Client, bad: BadCertificates, what: str
) -> None:
    kind, security, code, words = SMTP_FAULTS[what]
    with ScriptedImap() as imap, kind(bad) as port:
        report = tried(client, server(imap.port, "none"), smtp=server(port, security))
    assert report["imap"]["ok"], report
    assert report["smtp"]["code"] == code, report
    assert words in report["smtp"]["detail"]


class TestAServerThatGreetsLate:
    def test_is_waited_for(self, client: httpx.Client) -> None:
        """Longer than a second connection waits that asks whether TLS is meant."""
        with ScriptedImap() as imap:
            imap.greets_after_s = 3.0
            assert tried(client, server(imap.port, "none"))["ok"]

    def test_in_tls_is_waited_for(self, client: httpx.Client, bad: BadCertificates) -> None:
        with ScriptedImap(tls=bad.good) as imap:
            imap.greets_after_s = 3.0
            assert tried(client, server(imap.port, "tls"))["ok"]

    def test_and_is_slow_with_tls_itself_is_waited_for(
        self, client: httpx.Client, bad: BadCertificates
    ) -> None:
        with ScriptedImap(tls=bad.good) as imap:
            imap.accepts_after_s = 3.0
            assert tried(client, server(imap.port, "tls"))["ok"]


def test_tls_at_a_port_for_plain_text_is_noticed_long_before_the_deadline(
    client: httpx.Client, bad: BadCertificates
) -> None:
    with in_tls("good")(bad) as port:
        # At the deadline it would be `no_greeting`.
        assert tried(client, server(port, "starttls"))["imap"]["code"] == "tls_expected"


class TestADeadConnection:
    @pytest.mark.parametrize("command", [rb"NOOP", rb"UID FETCH", rb"UID MOVE", rb"LIST"])
    def test_is_not_spoken_to_again(self, client: httpx.Client, command: bytes) -> None:
        with ScriptedImap([b"Subject: one\r\n\r\ntext\r\n"]) as imap:
            imap.on(command, lambda *_: True)
            shown = fetched(client, connector(client, server(imap.port, "none", f"u{next(NUMBERS)}")))
            assert shown["last_error"]["code"] == "mail_server_timeout"
            assert re.match(command.decode(), imap.commands[-1])
            assert imap.sent("LOGOUT") == []


# What the server itself says


def spellings(username: str, password: str) -> dict[str, str]:
    """What a server may repeat of what it was sent."""

    def encoded(octets: bytes) -> str:
        return base64.b64encode(octets).decode()

    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return {
        "the password": password,
        "in capitals": password.upper(),
        "as a quoted string": f'LOGIN "{username}" "{escaped}"',
        "escaped for an address": f"https://firma.cz/?p={quote(password, safe='')}",
        "in base64": encoded(password.encode()),
        "as PLAIN": encoded(f"\0{username}\0{password}".encode()),
        "as PLAIN for somebody": encoded(f"{username}\0{username}\0{password}".encode()),
        "inside other base64": encoded(f"xx{password}yy".encode()),
        "cut off": f"unknown command LOGIN {username} {password[:9]}",
        "with control characters": password[:5] + "\x07" + password[5:],
        "the user name": f"no user {username} here",
    }


SECRET_PIECES = ("heslo", "Tajn", "HESLO", "nováková", "NOVÁKOVÁ")


def assert_nothing_is_told(text: str) -> None:
    for piece in SECRET_PIECES:
        for form in (piece, quote(piece), piece.encode("unicode_escape").decode()):
            assert form not in text
    for token in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", text):
        with contextlib.suppress(ValueError):
            decoded = base64.b64decode(token + "=" * (-len(token) % 4))
            assert b"heslo" not in decoded
            assert b"jana.nov" not in decoded


REPETITIONS = [("NO", what) for what in spellings(USER, PASSWORD)] + [
    (place, what) for place in ("ALERT", "BYE") for what in ("as a quoted string", "as PLAIN")
]


@pytest.mark.parametrize(("place", "what"), REPETITIONS)
def test_our_own_credentials_are_masked_wherever_a_server_repeats_them(
    client: httpx.Client, folder: Path, place: str, what: str
) -> None:
    user = f"{next(NUMBERS)}-{USER}"
    repeated = spellings(user, PASSWORD)[what].encode()
    with ScriptedImap(capabilities=CAPABILITIES + b" LOGINDISABLED") as imap:
        texts = {
            "NO": (rb"SELECT", b"NO Planted words " + repeated + b" and more"),
            "ALERT": (rb"LIST", b"NO [ALERT] Planted words " + repeated),
            "BYE": (rb"SELECT", b"BAD Planted words\r\n* BYE Planted words " + repeated),
        }
        pattern, text = texts[place]
        imap.on(rb"AUTHENTICATE", logs_in)
        imap.on(pattern, says(text))
        made = connector(client, server(imap.port, "none", user), PASSWORD)
        before = len((folder / "gateway.log").read_bytes())
        shown = fetched(client, made)
        report = client.post(f"/connectors/{made}/test", headers=an_administrator())
    said = [shown["last_error"]["server_text"] or "", (shown["alert"] or {"text": ""})["text"]]
    assert any("Planted words" in text for text in said), shown
    logged = (folder / "gateway.log").read_bytes()[before:].decode()
    assert "Planted words" in logged
    # What was entered as a setting is shown as such, and is nobody's repetition.
    for told in (*said, shown["last_error"]["detail"], report.text, logged):
        assert_nothing_is_told(told)


def test_a_password_in_the_place_of_a_response_code_is_masked(client: httpx.Client, folder: Path) -> None:
    with ScriptedImap() as imap:
        imap.on(rb"SELECT", says(b"NO [HUNTER2-SECRET] Planted code"))
        made = connector(client, server(imap.port, "none", f"u{next(NUMBERS)}"), "hunter2-secret")
        before = len((folder / "gateway.log").read_bytes())
        shown = fetched(client, made)
        client.post(f"/connectors/{made}/test", headers=an_administrator())
    logged = (folder / "gateway.log").read_bytes()[before:].decode()
    assert shown["last_error"]["server_text"] == "NO [***] Planted code"
    assert "Planted code" in logged
    assert "hunter2" not in logged.lower()


def logs_in(session: Any, tag: bytes, _command: bytes) -> bool:
    session.send(b"+ \r\n")
    session.read_line()
    session.send(tag + b" OK\r\n")
    return True


class TestTheServersWords:
    def test_are_shown_to_those_who_see_the_settings(self, client: httpx.Client) -> None:
        with ScriptedImap() as imap:
            imap.on(
                rb"SELECT", says(b"NO Unsafe\x07 Login.  Please contact kefu@188.com for help" + b"x" * 2000)
            )
            shown = fetched(client, connector(client, server(imap.port, "none", f"u{next(NUMBERS)}")))
        text = shown["last_error"]["server_text"]
        assert shown["last_error"]["code"] == "folder_not_selectable"
        assert text.startswith("NO Unsafe")
        assert "contact kefu@188.com" in text
        assert (text.isprintable(), len(text) <= 500) == (True, True)

    def test_of_a_greeting_that_turns_away_are_shown(self, client: httpx.Client) -> None:
        with speaking(says_at_once(b"* BYE [UNAVAILABLE] maintenance until ten\r\n")) as port:
            shown = fetched(client, connector(client, server(port, "none")))
        assert shown["last_error"]["code"] == "mail_server_unavailable"
        assert shown["last_error"]["server_text"] == "BYE [UNAVAILABLE] maintenance until ten"

    def test_before_a_greeting_are_nobodys(self, client: httpx.Client) -> None:
        for said in (b"HTTP/1.1 200 canary\r\n", b"+OK canary\r\n", b"canary\r\n", b"220 canary\r\n"):
            with speaking(says_at_once(said)) as port:
                shown = fetched(client, connector(client, server(port, "none")))
            assert shown["last_error"]["code"] == "not_imap"
            assert shown["last_error"]["server_text"] is None
            assert "canary" not in str(shown)

    def test_are_gone_with_the_error(self, client: httpx.Client) -> None:
        with ScriptedImap() as imap:
            imap.on(rb"SELECT", says(b"NO [NOPERM] Not yours"))
            made = connector(client, server(imap.port, "none", f"u{next(NUMBERS)}"))
            last = fetched(client, made)["last_error"]
            assert (last["code"], last["server_text"]) == ("folder_forbidden", "NO [NOPERM] Not yours")
            imap.well()
            assert fetched(client, made)["last_error"] is None


# A test finds what a fetch would find

MAIL = b"Subject: one\r\n\r\ntext\r\n"

FOLDER_FAULTS: dict[str, tuple[bytes, bytes, str, str]] = {
    "a SELECT that is refused": (rb"SELECT", b"NO not now", "source_folder", "folder_not_selectable"),
    "a SELECT that is forbidden": (rb"SELECT", b"NO [NOPERM] no", "source_folder", "folder_forbidden"),
    "a SELECT that is forbidden in words": (
        rb"SELECT",
        b"NO Permission denied",
        "source_folder",
        "folder_forbidden",
    ),
    "a folder that has just gone": (
        rb"SELECT",
        b"NO [NONEXISTENT] gone",
        "source_folder",
        "source_folder_missing",
    ),
    "a folder to read only": (
        rb"SELECT",
        b"OK [READ-ONLY] done",
        "source_folder",
        "folder_read_only",
    ),
    "no right to move": (rb"UID MOVE", b"NO [NOPERM] no", "source_folder", "no_right_to_move"),
    "no right to move, in words": (
        rb"UID (MOVE|COPY)",
        b"NO Permission denied",
        "source_folder",
        "no_right_to_move",
    ),
    "a quota": (rb"UID MOVE", b"NO [OVERQUOTA] full", "processed_folder", "over_quota"),
    "a quota, in words": (rb"UID MOVE", b"NO Quota exceeded", "processed_folder", "over_quota"),
}


@pytest.mark.parametrize("what", FOLDER_FAULTS)
def test_a_test_finds_what_the_fetch_would_find(client: httpx.Client, what: str) -> None:
    pattern, text, step, code = FOLDER_FAULTS[what]
    with ScriptedImap([MAIL]) as imap:
        imap.on(pattern, says(text))
        made = connector(client, server(imap.port, "none", f"u{next(NUMBERS)}"))
        report = client.post(f"/connectors/{made}/test", headers=an_administrator()).json()
        assert (report["ok"], report["imap"]["ok"], report[step]["code"]) == (False, True, code), report
        assert imap.inbox.raws() == [MAIL]
        assert fetched(client, made)["last_error"]["code"] == code


def test_a_folder_for_folders_alone_is_told_from_one_that_is_not_there(client: httpx.Client) -> None:
    with ScriptedImap([MAIL]) as imap:
        imap.folders[b"Lists"] = ScriptedFolder(7, b"\\Noselect")
        for wanted, code in (("Lists", "folder_not_selectable"), ("Nowhere", "source_folder_missing")):
            report = tried(client, server(imap.port, "none"), source_folder=wanted)
            assert (report["ok"], report["source_folder"]["code"]) == (False, code)
        for wanted, code in (("Lists", "folder_not_selectable"), ("Nowhere", "processed_folder_missing")):
            report = tried(client, server(imap.port, "none"), processed_folder=wanted)
            assert (report["ok"], report["processed_folder"]["code"]) == (False, code)


class TestTheRightToMove:
    def probed(self, client: httpx.Client, imap: ScriptedImap) -> list[str]:
        """The UIDs by which it was asked for; nothing has moved."""
        before = (imap.inbox.raws(), imap.trash.raws(), imap.inbox.uidnext)
        report = tried(client, server(imap.port, "none"))
        assert report["ok"], report
        assert (imap.inbox.raws(), imap.trash.raws(), imap.inbox.uidnext) == before
        assert all(not mail.flags for mail in imap.inbox.mails.values())
        return [command.split(" ")[2] for command in imap.sent("UID (MOVE|COPY)")]

    def test_is_asked_for_by_a_uid_that_was_given_and_is_free(self, client: httpx.Client) -> None:
        with ScriptedImap([MAIL] * 5) as imap:
            del imap.inbox.mails[3]
            assert self.probed(client, imap) == ["3"]

    def test_is_asked_for_by_the_highest_of_all_where_none_is_free(self, client: httpx.Client) -> None:
        with ScriptedImap([MAIL] * 5) as imap:
            assert self.probed(client, imap) == ["4294967295"]
        with ScriptedImap() as imap:
            assert self.probed(client, imap) == ["4294967295"]

    def test_is_asked_for_by_the_highest_of_all_where_uidnext_is_not_told(self, client: httpx.Client) -> None:
        with ScriptedImap([MAIL] * 5) as imap:
            del imap.inbox.mails[3]
            imap.rewrite(rb"^\* OK \[UIDNEXT \d+\][^\r]*\r\n", b"")
            assert self.probed(client, imap) == ["4294967295"]

    def test_is_not_asked_for_where_the_highest_of_all_is_taken(self, client: httpx.Client) -> None:
        with ScriptedImap() as imap:
            imap.inbox.uidnext = 4294967295
            imap.inbox.add(MAIL)
            imap.rewrite(rb"^\* OK \[UIDNEXT \d+\][^\r]*\r\n", b"")
            assert self.probed(client, imap) == []

    def test_is_not_asked_for_where_the_server_does_not_say_what_is_there(self, client: httpx.Client) -> None:
        with ScriptedImap([MAIL] * 5) as imap:
            imap.rewrite(rb"^\* SEARCH[^\r]*\r\n", b"")
            assert self.probed(client, imap) == []

    def test_is_asked_for_by_copy_where_there_is_no_move(self, client: httpx.Client) -> None:
        with ScriptedImap([MAIL], capabilities=CAPABILITIES.replace(b" MOVE", b"")) as imap:
            assert self.probed(client, imap) == ["4294967295"]
            assert imap.sent("UID COPY")

    @pytest.mark.parametrize("text", [b"NO no such message", b"BAD UID out of range", b"NO [CANNOT] no"])
    def test_is_not_denied_by_a_server_that_refuses_because_nothing_is_there(
        self, client: httpx.Client, text: bytes
    ) -> None:
        with ScriptedImap([MAIL]) as imap:
            imap.on(rb"UID MOVE", says(text))
            assert self.probed(client, imap) == ["4294967295"]

    @pytest.mark.parametrize(
        ("inbox", "trash", "code"),
        [
            (b"lrswipkxtecda", b"lrswipkxtecda", None),
            (b"lrswipcda", b"lrswipcda", None),  # RFC 2086
            (b"lrste", b"lri", None),
            (b"lrswit", b"lrswite", "no_right_to_move"),
            (b"lrsw", b"lrswite", "no_right_to_move"),
            (b'""', b"lrswite", "no_right_to_move"),
            (b"lrste", b"lrs", "no_right_to_move"),
        ],
    )
    def test_is_what_the_server_tells_where_it_does(
        self, client: httpx.Client, inbox: bytes, trash: bytes, code: str | None
    ) -> None:
        with ScriptedImap([MAIL], capabilities=CAPABILITIES + b" ACL RIGHTS=texk") as imap:

            def tells(session: Any, tag: bytes, command: bytes) -> bool:
                name, rights = (b"INBOX", inbox) if b"INBOX" in command else (b"Trash", trash)
                session.send(b"* MYRIGHTS %s %s\r\n%s OK\r\n" % (name, rights, tag))
                return True

            imap.on(rb"MYRIGHTS", tells)
            report = tried(client, server(imap.port, "none"))
            assert report["source_folder"]["code"] == code
            assert imap.sent("UID MOVE") == []
