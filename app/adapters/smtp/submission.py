"""Submits mails in a session that has logged in: one transaction for a mail, and more if it has many recipients."""

import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from app.adapters.network import NetworkPolicy
from app.adapters.smtp.connection import Client, Watch
from app.adapters.smtp.opening import logged_in, told_in_full
from app.adapters.smtp.refusals import is_about_number
from app.adapters.smtp.replies import expect, refuse, result_of, translated_errors
from app.adapters.smtp.values import (
    Envelope,
    Limits,
    LoggingIn,
    Outcome,
    RecipientResult,
    Server,
    require_usable,
)
from app.errors import ConnectionLost, GatewayError, MailServerError, MailServerTimeout


class Session:
    """A connection that has logged in. It submits one mail after another. Use as a context manager."""

    def __init__(
        self,
        server: Server,
        *,
        network: NetworkPolicy,
        tls: ssl.SSLContext,
        limits: Limits = Limits(),
        stopping: Callable[[], bool] = lambda: False,
        logging_in: LoggingIn = contextlib.nullcontext,
        ehlo_name: str | None = None,
    ) -> None:
        """Connect and log in.

        Raises:
            MailServerError
        """
        self._server, self._limits = server, limits
        self._open = contextlib.ExitStack()
        self._client, self._watch = self._open.enter_context(
            logged_in(
                server,
                network,
                tls,
                limits,
                stopping=stopping,
                logging_in=logging_in,
                ehlo_name=ehlo_name,
            )
        )
        self._mails = 0
        self.is_usable = True
        """False: the connection has ended, or may have ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session. Nothing more can be submitted."""
        self.is_usable = False
        self._open.close()

    def submit(self, envelope: Envelope, content: bytes) -> list[RecipientResult]:
        """Submit one mail. Returns the outcome for each recipient, in the order of the envelope.

        Raises:
            MailServerError: nothing was sent to anybody; `retryable` says whether a later attempt may succeed.
            ConnectionLost, TooManyConnections: with the command `REUSE`, if the server ended a connection that has already
                submitted a mail. The caller may try another connection at once.
        """
        require_usable(envelope)
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        if self._mails:
            self._watch.begin(self._limits.attempt_s)
        try:
            with told_in_full(self._server, self._client, self._watch), translated_errors("DATA"):
                results = _Submission(self._client, self._watch, self._limits, envelope.sender, content).to(
                    envelope.recipients, is_reused=self._mails > 0
                )
        except MailServerError as exc:
            self.is_usable = (
                not isinstance(exc, MailServerTimeout | ConnectionLost) and exc.retryable is False
            )
            raise
        self._mails += 1
        self.is_usable = all(each.outcome in {Outcome.ACCEPTED, Outcome.REFUSED} for each in results)
        for each in results:
            if isinstance(each.error, MailServerError):
                self._client.mask_error(each.error, self._server)
        return results


def submit(
    server: Server,
    envelope: Envelope,
    content: bytes,
    *,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits = Limits(),
    stopping: Callable[[], bool] = lambda: False,
    logging_in: LoggingIn = contextlib.nullcontext,
    ehlo_name: str | None = None,
) -> list[RecipientResult]:
    """Submit one mail over a connection of its own, as `Session.submit`.

    When `stopping` becomes true, the attempt is given up, unless the final dot has been sent.

    Raises:
        MailServerError: nothing was sent to anybody; `retryable` says whether a later attempt may succeed.
    """
    require_usable(envelope)
    with Session(
        server,
        network=network,
        tls=tls,
        limits=limits,
        stopping=stopping,
        logging_in=logging_in,
        ehlo_name=ehlo_name,
    ) as session:
        return session.submit(envelope, content)


def check(
    server: Server,
    *,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits = Limits(),
    logging_in: LoggingIn = contextlib.nullcontext,
    ehlo_name: str | None = None,
) -> None:
    """Connect, log in, and leave. Nothing is sent.

    Raises:
        MailServerError
    """
    with logged_in(server, network, tls, limits, logging_in=logging_in, ehlo_name=ehlo_name):
        pass


class _Submission:
    """One mail on its way. A server that takes only some recipients at a time gets several transactions."""

    def __init__(self, client: Client, watch: Watch, limits: Limits, sender: str, content: bytes) -> None:
        self._client, self._watch, self._limits = client, watch, limits
        self._sender, self._content = sender, content
        self._results: dict[str, RecipientResult] = {}

    def to(self, recipients: Sequence[str], *, is_reused: bool) -> list[RecipientResult]:
        rest = self._transact(recipients, is_reused=is_reused)
        while rest and len(rest) < len(recipients) and self._may_go_on():
            before = rest
            try:
                with translated_errors("MAIL"):
                    rest = self._transact(before, is_reused=False)
            except (
                MailServerError
            ) as exc:  # some recipients have the mail already, so this is not an error of the whole mail
                self._results |= {each: RecipientResult(each, Outcome.DEFERRED, error=exc) for each in before}
                break
            if len(rest) == len(before):
                break
        return [self._results[address] for address in recipients]

    def _may_go_on(self) -> bool:
        """Whether another transaction may begin: the last one ended well, and there is time."""
        last = [each.outcome for each in self._results.values()]
        assert self._client.sock is not None
        self._client.sock.settimeout(self._limits.command_s)
        return Outcome.UNCERTAIN not in last and self._watch.resume()

    def _transact(self, recipients: Sequence[str], *, is_reused: bool) -> Sequence[str]:
        """One transaction. Returns the recipients for whom there was no room in it."""
        self._begin(is_reused)
        accepted: list[str] = []
        rest: Sequence[str] = ()
        for position, address in enumerate(recipients):
            reply = self._client.docmd("RCPT", f"TO:<{address}>")
            if reply[0] == 421:  # the server is closing the connection
                refuse(reply, "RCPT")
            if is_about_number(reply):
                rest = recipients[position:]
                for each in rest:
                    self._results[each] = result_of(each, reply, "RCPT", outcome=Outcome.DEFERRED)
                break
            self._results[address] = result_of(address, reply, "RCPT")
            if self._results[address].outcome is Outcome.ACCEPTED:
                accepted.append(address)
        if not accepted:
            self._reset()
        elif not self._send(accepted):
            return ()  # the other recipients would get the same result
        return rest

    def _begin(self, is_reused: bool) -> None:
        client = self._client
        options = [f"SIZE={len(self._content)}"] if client.has_extn("size") else []
        if not self._content.isascii() and client.has_extn("8bitmime"):
            options.append("BODY=8BITMIME")
        command = "REUSE" if is_reused else "MAIL"
        with translated_errors(command):
            reply = client.docmd("MAIL", " ".join([f"FROM:<{self._sender}>", *options]))
        if reply[0] == 421:
            refuse(reply, command)
        if reply[0] != 250:
            self._reset()
        expect(reply, 250, "MAIL")

    def _reset(self) -> None:
        """Prepare the connection for another mail. If the connection has ended, the next mail will notice."""
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self._client.docmd("RSET")

    def _send(self, accepted: Sequence[str]) -> bool:
        """DATA. Returns whether the server took the mail."""
        reply = self._client.docmd("DATA")
        if reply[0] < 400:
            expect(reply, 354, "DATA")
            self._client.send(re.sub(rb"(?m)^\.", b"..", self._content))  # RFC 5321 §4.5.2
            assert self._client.sock is not None
            self._client.sock.settimeout(self._limits.answer_s)
            self._watch.final_dot(self._limits.answer_s)
            try:
                self._client.send(b".\r\n")
                reply = self._client.getreply()
            except (OSError, smtplib.SMTPException):
                self._results |= {each: RecipientResult(each, Outcome.UNCERTAIN) for each in accepted}
                return False
        self._results |= {each: result_of(each, reply, "DATA") for each in accepted}
        return reply[0] < 300


def is_worn_out(error: GatewayError | None) -> bool:
    """Whether a connection kept from an earlier mail has ended before anything of this mail was sent."""
    return isinstance(error, MailServerError) and error.command == "REUSE"
