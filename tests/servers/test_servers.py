"""The servers that other tests rely on do what they say."""

import contextlib
import datetime
import imaplib
import smtplib
import ssl
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError
from sqlalchemy import create_engine, text

from app.states import Security
from tests.servers.fixtures import started_or_skipped
from tools.servers import unpack
from tools.servers.browser import Browser
from tools.servers.certificates import Certificates
from tools.servers.dovecot import Dovecot
from tools.servers.http_receiver import Answer, HttpReceiver
from tools.servers.postgres import Postgres
from tools.servers.process import ServerFailed, ServerMissing, is_alive, wait_until
from tools.servers.smtp import SmtpServer

RAW = b"From: Jana <jana@firma.test>\r\nSubject: =?utf-8?q?P=C5=99=C3=ADklad?=\r\n\r\n\x80 d\xc4\x9bkuji\r\n.\r\n"


class TestDovecot:
    def test_gives_back_the_appended_octets_flags_and_date(self, dovecot: Dovecot, imap_user: str) -> None:
        date = datetime.datetime(2024, 2, 29, 23, 59, 1, tzinfo=datetime.UTC)
        uid = dovecot.deliver(imap_user, RAW, flags=["\\Flagged"], internal_date=date)
        (message,) = dovecot.messages(imap_user)
        assert (message.uid, message.raw, message.internal_date) == (uid, RAW, date)
        assert message.flags == {"\\Flagged"}

    def test_keeps_users_apart(self, dovecot: Dovecot) -> None:
        one, other = dovecot.new_user(), dovecot.new_user()
        dovecot.deliver_all(one, [RAW, RAW])
        assert [message.uid for message in dovecot.messages(one)] == [1, 2]
        assert dovecot.messages(other) == []

    def test_uid_move_answers_with_copyuid(self, dovecot: Dovecot, imap_user: str) -> None:
        uid = dovecot.deliver(imap_user, RAW)
        dovecot.set_next_uid(imap_user, 700, "Trash")
        with imaplib.IMAP4(dovecot.host, dovecot.port, timeout=10) as client:
            client.login(imap_user, dovecot.password)
            client.select("INBOX")
            assert client.uid("MOVE", str(uid), "Trash")[0] == "OK"
            copied = client.response("COPYUID")[1][0]
        assert copied is not None
        assert copied.split()[1:] == [str(uid).encode(), b"700"]
        assert dovecot.messages(imap_user) == []
        assert [message.uid for message in dovecot.messages(imap_user, "Trash")] == [700]

    def test_refuses_a_wrong_password_at_once(self, dovecot: Dovecot, imap_user: str) -> None:
        def refused_s() -> float:
            started = time.monotonic()
            with IMAPClient(dovecot.host, dovecot.port, ssl=False) as client, pytest.raises(LoginError):
                client.login(imap_user, "wrong")
            dovecot.messages(imap_user)  # nor does it make the next login wait
            return time.monotonic() - started

        # Its own way is to wait 2 s, and longer each time: a busy machine holds up some of five, not each.
        assert min(refused_s() for _ in range(5)) < 1.5

    def test_folders_have_their_special_use(self, dovecot: Dovecot, imap_user: str) -> None:
        with dovecot.client(imap_user) as client:
            uses = {name: flags for flags, _, name in client.list_folders()}
        assert {"INBOX", "Trash", "Sent", "Drafts", "Junk"} == set(uses)
        assert b"\\Trash" in uses["Trash"]
        assert b"\\Junk" in uses["Junk"]

    @pytest.mark.parametrize("way", ["tls", "starttls"])
    def test_tls_is_verified_by_the_authority_alone(
        self, dovecot_tls: Dovecot, certificates: Certificates, imap_user: str, way: str
    ) -> None:
        def login(context: ssl.SSLContext) -> None:
            port = dovecot_tls.tls_port if way == "tls" else dovecot_tls.port
            with IMAPClient("localhost", port, ssl=way == "tls", ssl_context=context, timeout=10) as client:
                if way == "starttls":
                    client.starttls(context)
                client.login(imap_user, dovecot_tls.password)

        login(certificates.client_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            login(ssl.create_default_context())

    def test_takes_mail_put_into_the_maildir(self, dovecot: Dovecot, imap_user: str) -> None:
        date = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        dovecot.put_in_maildir(imap_user, b"Subject: nul\r\n\r\na\0b\r\n", internal_date=date)
        (message,) = dovecot.messages(imap_user)
        # Dovecot shows NUL as 0x80, since a literal may not hold NUL (RFC 9051 section 9).
        assert (message.raw, message.internal_date) == (b"Subject: nul\r\n\r\na\x80b\r\n", date)

    def test_takes_an_empty_mail_into_a_folder_with_a_czech_name(
        self, dovecot: Dovecot, imap_user: str
    ) -> None:
        dovecot.put_in_maildir(imap_user, b"", "Koš.Starý")
        assert [message.raw for message in dovecot.messages(imap_user, "Koš.Starý")] == [b""]

    def test_uidvalidity_can_be_changed(self, dovecot: Dovecot, imap_user: str) -> None:
        dovecot.deliver(imap_user, RAW)
        dovecot.set_uid_validity(imap_user, 4_000_000_001)
        with dovecot.client(imap_user) as client:
            assert client.select_folder("INBOX")[b"UIDVALIDITY"] == 4_000_000_001

    def test_doveadm_tells_why_it_failed(self, dovecot: Dovecot) -> None:
        with pytest.raises(ServerFailed, match="no-such-command"):
            dovecot.doveadm("no-such-command")

    def test_takes_many_connections_of_one_user(self, dovecot: Dovecot, imap_user: str) -> None:
        clients = [IMAPClient(dovecot.host, dovecot.port, ssl=False) for _ in range(30)]
        for client in clients:
            client.login(imap_user, dovecot.password)
        for client in clients:
            client.logout()

    def test_mdbox_has_czech_folders_with_special_use(self, dovecot_mdbox: Dovecot) -> None:
        user = dovecot_mdbox.new_user()
        dovecot_mdbox.deliver(user, RAW, "Koš")
        with dovecot_mdbox.client(user) as client:
            folders = {name: (flags, delimiter) for flags, delimiter, name in client.list_folders()}
        assert b"\\Trash" in folders["Koš"][0]
        assert folders["Koš"][1] == b"/"
        assert [message.raw for message in dovecot_mdbox.messages(user, "Koš")] == [RAW]
        with pytest.raises(ValueError, match="mdbox"):
            dovecot_mdbox.put_in_maildir(user, b"")

    def test_leaves_nothing_behind(self) -> None:
        server = started_or_skipped(lambda: Dovecot().start())
        pids = [int(line.split()[1]) for line in server.doveadm("process", "status").splitlines()[1:]]
        assert pids
        server.stop()
        assert not any(is_alive(pid) for pid in pids)
        with pytest.raises((OSError, IMAPClientError)):
            IMAPClient(server.host, server.port, ssl=False)


class TestPostgres:
    def test_databases_are_new_and_apart(self, postgres: Postgres, postgres_url: str) -> None:
        with postgres.database() as other:
            for url in (postgres_url, other):
                engine = create_engine(url)
                with engine.begin() as connection:
                    connection.execute(text("CREATE TABLE t (s text)"))
                    connection.execute(text("INSERT INTO t VALUES (:s)"), {"s": "Příliš"})
                    assert connection.execute(text("SELECT upper(s) FROM t")).all() == [("PŘÍLIŠ",)]
                engine.dispose()
            assert other != postgres_url
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(other.replace("+psycopg", ""))

    def test_a_database_can_be_copied(self, postgres: Postgres, postgres_url: str) -> None:
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        connection.close()
        copy = postgres.new_database(template=postgres_url)
        with psycopg.connect(copy.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (7,)
        connection.close()
        postgres.drop(copy)

    def test_a_crash_keeps_what_was_committed(self) -> None:
        server = started_or_skipped(lambda: Postgres().start())
        try:
            if not server.managed:
                pytest.skip("TEST_POSTGRES_URL is not ours to kill")
            url = server.new_database().replace("+psycopg", "")
            with psycopg.connect(url) as connection:
                connection.execute("CREATE TABLE t (n int)")
            with contextlib.closing(psycopg.connect(url)) as open_transaction:
                open_transaction.execute("INSERT INTO t VALUES (1)")
                server.kill()
                with pytest.raises(psycopg.OperationalError):
                    open_transaction.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url, connect_timeout=2)
            server.restart()
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        finally:
            server.stop()


class TestSmtpServer:
    def test_records_envelope_and_octets(self, smtp_server: SmtpServer) -> None:
        with smtplib.SMTP(smtp_server.host, smtp_server.port, timeout=10) as client:
            client.sendmail("a@firma.test", ["b@x.test", "c@x.test"], RAW, ["BODY=8BITMIME"])
        (mail,) = smtp_server.wait_for(1)
        assert (mail.envelope_from, mail.envelope_recipients) == ("a@firma.test", ("b@x.test", "c@x.test"))
        assert mail.raw == RAW
        assert "BODY=8BITMIME" in mail.mail_options
        assert (mail.authenticated_as, mail.over_tls) == (None, False)

    def test_refuses_as_told(self, smtp_server: SmtpServer) -> None:
        smtp_server.behaviour.recipient_replies = {"no@x.test": "550 5.1.1 No such user"}
        with smtplib.SMTP(smtp_server.host, smtp_server.port, timeout=10) as client:
            refused = client.sendmail("a@firma.test", ["no@x.test", "yes@x.test"], RAW)
            assert refused == {"no@x.test": (550, b"5.1.1 No such user")}
            smtp_server.behaviour.data_reply = "451 4.3.0 Later"
            with pytest.raises(smtplib.SMTPDataError) as caught:
                client.sendmail("a@firma.test", ["yes@x.test"], RAW)
            assert caught.value.smtp_code == 451
            smtp_server.behaviour.sender_reply = "421 4.7.0 Go away"
            with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPServerDisconnected)):
                client.sendmail("a@firma.test", ["yes@x.test"], RAW)
        assert [mail.answer for mail in smtp_server.mails] == ["250 2.0.0 Queued", "451 4.3.0 Later"]

    def test_can_drop_the_connection_after_the_final_dot(self, smtp_server: SmtpServer) -> None:
        smtp_server.behaviour.drop_after_dot = True
        client = smtplib.SMTP(smtp_server.host, smtp_server.port, timeout=10)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.sendmail("a@firma.test", ["b@x.test"], RAW)
        assert [mail.answer for mail in smtp_server.wait_for(1)] == [None]

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_authenticates_over_verified_tls(
        self, certificates: Certificates, security: str, mechanism: str
    ) -> None:
        context = certificates.client_context()
        with SmtpServer(
            security=Security(security),
            certificates=certificates,
            user="jana",
            password="heslo",
            auth_required=True,
        ) as server:
            client = (
                smtplib.SMTP_SSL("localhost", server.port, timeout=10, context=context)
                if security == "tls"
                else smtplib.SMTP("localhost", server.port, timeout=10)
            )
            with client:
                if security == "starttls":
                    client.starttls(context=context)
                client.ehlo()
                assert mechanism in client.esmtp_features["auth"].split()
                with pytest.raises(smtplib.SMTPSenderRefused):
                    client.sendmail("a@firma.test", ["b@x.test"], RAW)
                client.user, client.password = "jana", "wrong"
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
                client.password = "heslo"
                client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
                client.sendmail("a@firma.test", ["b@x.test"], RAW)
            (mail,) = server.wait_for(1)
        assert (mail.authenticated_as, mail.over_tls) == ("jana", True)

    def test_an_unknown_authority_is_noticed(self, certificates: Certificates) -> None:
        with (
            SmtpServer(security=Security.TLS, certificates=certificates) as server,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            smtplib.SMTP_SSL("localhost", server.port, timeout=10, context=ssl.create_default_context())


class TestHttpReceiver:
    def test_records_and_answers_in_turn(self, http_receiver: HttpReceiver) -> None:
        http_receiver.answer_with(503, Answer(200, b"ok", (("X-A", "b"),)))
        with httpx.Client() as client:
            answers = [
                client.post(f"{http_receiver.url}/hook?a=1", content=b"\0x", headers={"X-Id": "7"})
                for _ in range(3)
            ]
        assert [answer.status_code for answer in answers] == [503, 200, 200]
        assert (answers[1].content, answers[1].headers["x-a"]) == (b"ok", "b")
        first, *_ = http_receiver.wait_for(3)
        assert (first.method, first.path, first.body) == ("POST", "/hook?a=1", b"\0x")
        assert first.headers["x-id"] == "7"

    def test_redirects_delays_and_drops(self, http_receiver: HttpReceiver) -> None:
        with httpx.Client() as client:
            http_receiver.redirect_to("http://127.0.0.1:1/other")
            assert client.post(http_receiver.url).headers["location"] == "http://127.0.0.1:1/other"
            http_receiver.answer_with(Answer(delay_s=5), Answer(drop=True))
            with pytest.raises(httpx.ReadTimeout):
                client.post(http_receiver.url, timeout=0.2)
            with pytest.raises(httpx.RemoteProtocolError):
                client.post(http_receiver.url)

    def test_waiting_in_vain_fails(self, http_receiver: HttpReceiver) -> None:
        with pytest.raises(ServerFailed, match="0 requests"):
            http_receiver.wait_for(1, timeout_s=0.05)


class TestBrowser:
    def test_leaves_nothing_behind(self) -> None:
        browser = started_or_skipped(lambda: Browser().start())
        pids = [
            int(found.parent.name)
            for found in Path("/proc").glob("[0-9]*/environ")
            if f"HOME={browser.home}\0" in _content_of(found)
        ]
        assert len(pids) > 1
        browser.stop()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5, "chromium's processes to go")
        assert not browser.home.exists()


def _content_of(process_file: Path) -> str:
    """The text of the file. Empty if the process has just ended."""
    try:
        return process_file.read_text(errors="replace")
    except OSError:
        return ""


class TestMissingServer:
    @staticmethod
    def _start() -> None:
        raise ServerMissing("dovecot: not installed")

    def test_skips_and_names_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match="dovecot: not installed"):
            started_or_skipped(self._start)

    def test_fails_with_ci(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="dovecot: not installed"):
            started_or_skipped(self._start)

    def test_a_machine_without_apt_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TEST_SERVERS_DIR", str(tmp_path))
        monkeypatch.setattr(unpack, "find_program", lambda name: None)
        with pytest.raises(ServerMissing, match="no apt-get"):
            unpack.unpacked(unpack.DOVECOT)

    def test_a_package_that_cannot_be_had_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("TEST_SERVERS_DIR", str(tmp_path))
        no_sources = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/dev/null"]
        private_state = unpack._private_state
        monkeypatch.setattr(unpack, "_private_state", lambda folder: private_state(folder) + no_sources)
        with pytest.raises(ServerMissing, match="no-such-package"):
            unpack.unpacked(unpack.Package("nothing", ("no-such-package",), "nothing"))
