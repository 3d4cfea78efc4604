"""The IMAP adapter on a real Dovecot: how it connects, and what it never lets through."""

import contextlib
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from app.adapters import imap
from app.adapters.imap import ConnectionPolicy, ServerAddress, uid_sets
from app.adapters.network import NetworkPolicy
from app.config import Settings
from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    HostUnreachable,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    NoLoginMethod,
)
from app.states import Security
from tests.support.stored_mail import mail
from tools.servers.certificates import Certificates
from tools.servers.dovecot import Dovecot

LOOPBACK = Settings(allowed_private_networks="127.0.0.0/8").allowed_private_networks


@pytest.fixture
def access(certificates: Certificates) -> ConnectionPolicy:
    tls = ssl.create_default_context(cafile=str(certificates.authority_file))
    return ConnectionPolicy(NetworkPolicy(LOOPBACK), tls, 2.0, 5.0, 1_000_000)


def address(
    dovecot: Dovecot, user: str, security: Security = Security.NONE, host: str = "127.0.0.1"
) -> ServerAddress:
    port = dovecot.tls_port if security == Security.TLS else dovecot.port
    return ServerAddress(host, port, security, user)


@contextlib.contextmanager
def scripted(*lines: bytes, then: Callable[[socket.socket], None] | None = None) -> Iterator[int]:
    """The port of a server that says these lines, one before and one after each line it gets, then no more."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                received = connection.makefile("rb")
                for line in lines:
                    connection.sendall(line)
                    if not received.readline():
                        return
                if then is not None:
                    then(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that greets, and then speaks like this."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"* OK hello\r\n")
                speak(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])


class TestConnecting:
    @pytest.mark.parametrize("security", list(Security))
    def test_each_kind_of_connection_reads_the_mailbox(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy, security: Security
    ) -> None:
        dovecot.deliver(imap_user, mail("one"))
        host = "127.0.0.1" if security == Security.NONE else "localhost"
        server = address(dovecot, imap_user, security, host)
        with imap.connect(server, dovecot.password, access) as session:
            assert session.can_move
            assert session.select("INBOX").exists == 1

    @pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
    def test_an_untrusted_server_gets_no_password(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy, security: Security
    ) -> None:
        untrusting = ConnectionPolicy(access.network, ssl.create_default_context(), 2.0, 5.0, 1000)
        server = address(dovecot, imap_user, security, "localhost")
        with pytest.raises(CertificateRefused), imap.connect(server, dovecot.password, untrusting):
            pytest.fail("connected")

    def test_plain_text_outside_the_allowed_networks_is_refused(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy
    ) -> None:
        nowhere = ConnectionPolicy(NetworkPolicy(()), access.tls, 2.0, 5.0, 1000)
        with pytest.raises(HostUnreachable), imap.connect(address(dovecot, imap_user), "x", nowhere):
            pytest.fail("connected")

    def test_a_password_beyond_ascii_is_possible(self, access: ConnectionPolicy) -> None:
        with Dovecot(password="příliš-žluťoučký") as server:
            user = server.new_user()
            with imap.connect(address(server, user), server.password, access) as session:
                assert session.select("INBOX").exists == 0

    def test_a_wrong_password_differs_from_a_fault_of_the_server(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy
    ) -> None:
        with (
            pytest.raises(LoginRefused) as caught,
            imap.connect(address(dovecot, imap_user), "planted-wrong", access),
        ):
            pytest.fail("logged in")
        assert "planted" not in repr(caught.value) + str(caught.value.__dict__)

    @pytest.mark.parametrize("password", ["a\r\nA9 DELETE INBOX", "nul\0", 'quo"te\\'])
    def test_any_password_is_sent_in_one_command(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy, password: str
    ) -> None:
        with pytest.raises(MailServerError), imap.connect(address(dovecot, imap_user), password, access):
            pytest.fail("logged in")
        assert dovecot.messages(imap_user) == []


class TestTls:
    """What the certificate says is what counts, and nothing is sent before it is believed."""

    def refused(self, access: ConnectionPolicy, context: ssl.SSLContext, host: str) -> bool:
        """Whether a server with this side of TLS is refused without a word."""
        said: list[bytes] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    said.append(secured.recv(1000))

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=serve, daemon=True).start()
            server = ServerAddress(host, listener.getsockname()[1], Security.TLS, "u")
            with pytest.raises(MailServerError), imap.connect(server, "planted", access):
                pytest.fail("connected")
        return b"".join(said) == b""

    def test_a_certificate_of_another_host_is_refused(
        self, access: ConnectionPolicy, certificates: Certificates
    ) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("other.firma.cz").configure_cert(context)
        authority.configure_trust(access.tls)
        assert self.refused(access, context, "localhost")

    def test_an_expired_certificate_is_refused(self, access: ConnectionPolicy) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        expired = datetime(2020, 1, 1, tzinfo=UTC)
        authority.issue_cert(
            "localhost", not_before=expired, not_after=expired + timedelta(days=1)
        ).configure_cert(context)
        authority.configure_trust(access.tls)
        assert self.refused(access, context, "localhost")

    def test_an_old_version_of_tls_is_refused(self, access: ConnectionPolicy) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.configure_trust(access.tls)
        with warnings.catch_warnings(action="ignore"):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        assert self.refused(access, context, "localhost")


class TestAServerThat:
    def test_greets_with_preauth_is_left_before_anything_is_said(self, access: ConnectionPolicy) -> None:
        with scripted(b"* PREAUTH welcome\r\n") as port:
            server = ServerAddress("127.0.0.1", port, Security.STARTTLS, "u")
            with pytest.raises(NoLoginMethod), imap.connect(server, "planted", access):
                pytest.fail("connected")

    def test_offers_no_starttls_gets_no_password(self, access: ConnectionPolicy) -> None:
        said: list[bytes] = []

        def listen(connection: socket.socket) -> None:
            connection.sendall(b"X BAD\r\n")
            said.append(connection.recv(1000))

        with scripted(b"* OK hello\r\n", b"* CAPABILITY IMAP4rev1\r\n", then=listen) as port:
            server = ServerAddress("127.0.0.1", port, Security.STARTTLS, "u")
            with pytest.raises(MailServerError), imap.connect(server, "planted", access):
                pytest.fail("connected")
        assert b"planted" not in b"".join(said)

    def test_says_more_than_its_answer_before_tls_gets_no_password(self, access: ConnectionPolicy) -> None:
        said: list[bytes] = []

        def speak(connection: socket.socket) -> None:
            for line in connection.makefile("rb"):
                said.append(line)
                answer = line.split()[0] + b" OK go\r\n"
                if b"STARTTLS" in line:  # and what somebody on the way has put behind it
                    connection.sendall(answer + b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
                else:
                    connection.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + answer)

        with serving(speak) as port:
            server = ServerAddress("127.0.0.1", port, Security.STARTTLS, "u")
            with pytest.raises(ConnectionLost), imap.connect(server, "planted", access):
                pytest.fail("connected")
        assert said[-1].split()[1] == b"STARTTLS"

    def test_a_silent_server_is_given_up_in_time(self, access: ConnectionPolicy) -> None:
        hasty = ConnectionPolicy(access.network, access.tls, 1.0, 1.0, 1000)
        with scripted(b"") as port:
            started = time.monotonic()
            server = ServerAddress("127.0.0.1", port, Security.NONE, "u")
            with pytest.raises(MailServerTimeout), imap.connect(server, "x", hasty):
                pytest.fail("connected")
            assert time.monotonic() - started < 30

    def test_a_server_that_sends_an_octet_now_and_then_is_given_up_in_time(
        self, access: ConnectionPolicy
    ) -> None:
        hasty = ConnectionPolicy(access.network, access.tls, 1.0, 1.0, 1000)

        def drip(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(b"*")
                    time.sleep(0.2)

        with scripted(b"* OK hello\r\n", then=drip) as port:
            started = time.monotonic()
            server = ServerAddress("127.0.0.1", port, Security.NONE, "u")
            with pytest.raises(MailServerTimeout), imap.connect(server, "x", hasty):
                pytest.fail("connected")
            assert time.monotonic() - started < 30

    def test_announces_a_literal_of_4_gb_costs_no_memory(self, access: ConnectionPolicy) -> None:
        with scripted(b"* OK hello\r\n", b"* FLAGS {4294967295}\r\n") as port:
            server = ServerAddress("127.0.0.1", port, Security.NONE, "u")
            with pytest.raises(ConnectionLost), imap.connect(server, "x", access):
                pytest.fail("connected")

    def test_an_answer_to_a_search_of_several_megabytes_is_read(self, access: ConnectionPolicy) -> None:
        uids = b" ".join(b"%d" % (4_000_000_000 + number) for number in range(300_000))
        assert len(uids) > 3_000_000

        def speak(connection: socket.socket) -> None:
            received = connection.makefile("rb")
            while line := received.readline():
                tag, _, command = line.partition(b" ")
                if command.startswith(b"UID SEARCH"):
                    connection.sendall(b"* SEARCH " + uids + b"\r\n")
                elif command.startswith(b"CAPABILITY"):
                    connection.sendall(b"* CAPABILITY IMAP4rev1\r\n")
                connection.sendall(tag + b" OK done\r\n")

        with serving(speak) as port:
            server = ServerAddress("127.0.0.1", port, Security.NONE, "u")
            with imap.connect(server, "x", access) as session:
                session.select("INBOX")
                assert len(session.search_undeleted()) == 300_000

    def test_greets_with_bye_is_tried_later(self, access: ConnectionPolicy) -> None:
        with scripted(b"* BYE too busy\r\n") as port:
            server = ServerAddress("127.0.0.1", port, Security.NONE, "u")
            with pytest.raises(MailServerError) as caught, imap.connect(server, "x", access):
                pytest.fail("connected")
        assert caught.value.retryable


class TestFolders:
    @pytest.mark.parametrize("name", ["INBOX\r\nA9 DELETE Trash", "a\nb", "nul\0", "tab\t"])
    def test_folders_whose_name_would_be_a_second_command_are_refused(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy, name: str
    ) -> None:
        with imap.connect(address(dovecot, imap_user), dovecot.password, access) as session:
            for use in (session.select, session.status, session.create_folder):
                with pytest.raises(CommandRefused):
                    use(name)
            session.select("INBOX")
            with pytest.raises(CommandRefused):
                session.move([1], name)
            assert "Trash" in [folder.name for folder in session.list_folders()]

    @pytest.mark.parametrize("name", ['quo"te', "back\\slash", "Žluťoučký kůň", "a & b", "%", "日本語"])
    def test_folders_with_any_name_are_created_listed_and_selected(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy, name: str
    ) -> None:
        with imap.connect(address(dovecot, imap_user), dovecot.password, access) as session:
            session.create_folder(name)
            assert name in [folder.name for folder in session.list_folders()]
            assert session.select(name).exists == 0


class TestReading:
    def test_a_search_beyond_the_last_mail_finds_nothing(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy
    ) -> None:
        dovecot.deliver_all(imap_user, [mail("1"), mail("2")])
        with imap.connect(address(dovecot, imap_user), dovecot.password, access) as session:
            selected = session.select("INBOX")
            assert selected.uidnext == 3
            assert session.search_from(3) == []
            assert session.next_uid(1) == 3
            assert session.search_undeleted() == [1, 2]

    def test_a_mail_that_is_not_there_is_given_as_none(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy
    ) -> None:
        dovecot.deliver(imap_user, mail("1"))
        with imap.connect(address(dovecot, imap_user), dovecot.password, access) as session:
            session.select("INBOX")
            found = session.fetch_mails([1, 99])
        assert [fetched.uid for fetched in found] == [1, 99]
        assert found[0].raw == dovecot.messages(imap_user)[0].raw
        assert found[1].raw is None

    def test_a_move_of_what_is_not_there_proves_nothing(
        self, dovecot: Dovecot, imap_user: str, access: ConnectionPolicy
    ) -> None:
        dovecot.deliver(imap_user, mail("1"))
        with imap.connect(address(dovecot, imap_user), dovecot.password, access) as session:
            session.select("INBOX")
            assert session.move([1, 99], "Trash") == {1: 1}
            assert session.move([1], "Trash") == {}

    def test_uids_are_written_as_ranges_in_lines_that_servers_take(self) -> None:
        assert list(uid_sets.uid_sets([5, 1, 2, 3, 9])) == ["1:3,5,9"]
        odd = list(range(1, 4000, 2))
        sets = list(uid_sets.uid_sets(odd))
        assert len(sets) > 1
        assert all(len(each) <= uid_sets.MAX_SET_OCTETS for each in sets)
        assert ",".join(sets) == ",".join(map(str, odd))
