"""The SMTP adapter over real connections: time limits, TLS, odd replies."""

import dataclasses
import ipaddress
import ssl
import time
from typing import Any

import pytest

from app.adapters import smtp
from app.adapters.network import NetworkPolicy
from app.adapters.smtp import Envelope, Limits, Outcome, Server
from app.errors import (
    CertificateRefused,
    CommandRefused,
    ConnectionLost,
    HostUnreachable,
    LoginRefused,
    MailServerError,
    MailServerTimeout,
    MailServerUnavailable,
    NotSmtp,
    TooManyConnections,
)
from app.states import Security
from tests.support.sender_runs import (
    A,
)
from tests.support.sending_mailbox import PASSWORD
from tests.support.smtp_talk import dripping_server, scripted_server
from tools.servers.certificates import Certificates
from tools.servers.smtp import SmtpServer

CONTENT = b"Subject: x\r\n\r\nHello\r\n"


class TestAdapter:
    """The SMTP conversation itself."""

    def deliver(self, server: Server, *to: str, **options: Any) -> list[Outcome]:
        values: dict[str, Any] = {
            "network": NetworkPolicy(_networks("127.0.0.0/8", "::1/128")),
            "tls": ssl.create_default_context(),
            "limits": Limits(connect_s=2, command_s=3, attempt_s=6, answer_s=3),
            **options,
        }
        content = values.pop("content", CONTENT)
        results = smtp.submit(server, Envelope("info@firma.cz", to or (A,)), content, **values)
        return [result.outcome for result in results]

    @pytest.mark.parametrize("security", list(Security))
    def test_logs_in_over_every_kind_of_connection(
        self, security: Security, certificates: Certificates
    ) -> None:
        with SmtpServer(
            security=security, certificates=certificates, user="info", password=PASSWORD, auth_required=True
        ) as server:
            target = Server("127.0.0.1", server.port, security, "info", PASSWORD)
            assert self.deliver(target, tls=certificates.client_context()) == [Outcome.ACCEPTED]
            [mail] = server.mails
            assert (mail.over_tls, mail.authenticated_as) == (security != Security.NONE, "info")
            wrong = dataclasses.replace(target, password="wrong")
            with pytest.raises(LoginRefused):
                self.deliver(wrong, tls=certificates.client_context())

    @pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
    def test_a_certificate_nobody_vouches_for_is_refused(
        self, security: Security, certificates: Certificates
    ) -> None:
        with SmtpServer(security=security, certificates=certificates) as server:
            with pytest.raises(CertificateRefused):
                self.deliver(Server("127.0.0.1", server.port, security))
            assert server.mails == []

    def test_a_server_without_starttls_gets_no_password(self) -> None:
        with SmtpServer(user="info", password=PASSWORD) as server, pytest.raises(MailServerUnavailable):
            self.deliver(Server("127.0.0.1", server.port, Security.STARTTLS, "info", PASSWORD))

    def test_plain_text_is_not_spoken_outside_the_allowed_private_networks(
        self, smtp_server: SmtpServer
    ) -> None:
        with pytest.raises(HostUnreachable):
            self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), network=NetworkPolicy())

    @pytest.mark.parametrize("address", ["a@b.cz\r\nRCPT TO:<x@y.cz>", "a b@c.cz", "a@b.cz>", "é@b.cz", ""])
    def test_an_address_that_is_a_command_is_not_sent(self, smtp_server: SmtpServer, address: str) -> None:
        with pytest.raises(CommandRefused):
            self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), address)

    def test_bare_line_ends_cannot_smuggle_a_second_mail(self, smtp_server: SmtpServer) -> None:
        content = b"Subject: x\n\nHello\n.\nMAIL FROM:<x@y.cz>\r.\r\n..\r\n.\r\nend"
        assert self.deliver(Server("127.0.0.1", smtp_server.port, Security.NONE), content=content) == [
            Outcome.ACCEPTED
        ]
        [mail] = smtp_server.mails
        assert mail.raw == b"Subject: x\r\n\r\nHello\r\n.\r\nMAIL FROM:<x@y.cz>\r\n.\r\n..\r\n.\r\nend\r\n"

    @pytest.mark.parametrize(
        ("replies", "error"),
        [
            ([], ConnectionLost),
            ([b"554 no\r\n"], CommandRefused),
            ([b"421 busy\r\n"], TooManyConnections),
            ([b"450 later\r\n"], MailServerUnavailable),
            ([b"HTTP/1.1 400 Bad Request\r\n"], NotSmtp),
            ([b"220 " + b"x" * 10_000 + b"\r\n"], ConnectionLost),
            ([b"220-x\r\n" * 1000], ConnectionLost),
            ([b"220 hi\r\n", b"502 no\r\n", b"502 no\r\n"], CommandRefused),
            ([b"220 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 what\r\n"], CommandRefused),
        ],
    )
    def test_a_server_gone_wrong_is_an_error_of_the_tree(
        self, replies: list[bytes], error: type[MailServerError]
    ) -> None:
        with scripted_server(replies) as port, pytest.raises(error) as caught:
            self.deliver(Server("127.0.0.1", port, Security.NONE))
        assert type(caught.value) is error

    def test_a_lost_connection_before_the_dot_is_an_error_and_after_it_uncertain(self) -> None:
        # Banner, EHLO, MAIL, RCPT, and DATA, whose answer is followed by one read of the content.
        before = [b"220 hi\r\n", *[b"250 ok\r\n"] * 3]
        with scripted_server(before) as port, pytest.raises(ConnectionLost):
            self.deliver(Server("127.0.0.1", port, Security.NONE))
        with scripted_server([*before, b"354 go\r\n"]) as port:
            assert self.deliver(Server("127.0.0.1", port, Security.NONE)) == [Outcome.UNCERTAIN]

    def test_no_answer_to_the_dot_is_uncertain(self, smtp_server: SmtpServer) -> None:
        smtp_server.behaviour.data_delay_s = 3
        limits = Limits(connect_s=2, command_s=1, attempt_s=5, answer_s=0.3)
        target = Server("127.0.0.1", smtp_server.port, Security.NONE)
        assert self.deliver(target, limits=limits) == [Outcome.UNCERTAIN]

    def test_a_server_that_gives_one_octet_at_a_time_meets_the_deadline(self) -> None:
        with dripping_server() as port:
            started = time.monotonic()
            limits = Limits(connect_s=2, command_s=2, attempt_s=1, answer_s=1)
            with pytest.raises(MailServerTimeout):
                self.deliver(Server("127.0.0.1", port, Security.NONE), limits=limits)
            assert time.monotonic() - started < 30


def _networks(*texts: str) -> list[Any]:
    return [ipaddress.ip_network(text) for text in texts]
