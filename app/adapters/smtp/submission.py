"""Submits one mail in a session that has logged in."""

import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence

from app.adapters.network import NetworkPolicy
from app.adapters.smtp.connection import Client, Watch
from app.adapters.smtp.opening import logged_in
from app.adapters.smtp.replies import codes_of, expect, line_of, refuse, result_of, translated_errors
from app.adapters.smtp.values import (
    Envelope,
    Limits,
    LoggingIn,
    Outcome,
    RecipientResult,
    Server,
    require_usable,
)
from app.errors import CommandRefused


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
) -> list[RecipientResult]:
    """Submit one mail. Returns the outcome for each recipient, in the order of the envelope.

    When `stopping` becomes true, the attempt is given up, unless the final dot has been sent.

    Raises:
        MailServerError: nothing was sent to anybody; `retryable` says whether a later attempt may succeed.
    """
    require_usable(envelope)
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    session = logged_in(server, network, tls, limits, stopping=stopping, logging_in=logging_in)
    with session as (client, watch), translated_errors("DATA"):
        return _transact(client, envelope, content, watch, limits)


def check(
    server: Server,
    *,
    network: NetworkPolicy,
    tls: ssl.SSLContext,
    limits: Limits = Limits(),
    logging_in: LoggingIn = contextlib.nullcontext,
) -> None:
    """Connect, log in, and leave. Nothing is sent.

    Raises:
        MailServerError
    """
    with logged_in(server, network, tls, limits, logging_in=logging_in):
        pass


def _transact(
    client: Client, envelope: Envelope, content: bytes, watch: Watch, limits: Limits
) -> list[RecipientResult]:
    options = [f"SIZE={len(content)}"] if client.has_extn("size") else []
    if not content.isascii() and client.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")
    reply = client.docmd("MAIL", " ".join([f"FROM:<{envelope.sender}>", *options]))
    expect(reply, 250, "MAIL")
    results: dict[str, RecipientResult] = {}
    for address in envelope.recipients:
        reply = client.docmd("RCPT", f"TO:<{address}>")
        results[address] = result_of(address, reply)
        if reply[0] == 421:  # the server is closing the connection
            refuse(reply, "RCPT")
    accepted = [address for address, result in results.items() if result.outcome is Outcome.ACCEPTED]
    if accepted:
        results |= {result.address: result for result in _send(client, accepted, content, watch, limits)}
    return [results[address] for address in envelope.recipients]


def _send(
    client: Client, accepted: Sequence[str], content: bytes, watch: Watch, limits: Limits
) -> Iterator[RecipientResult]:
    reply = client.docmd("DATA")
    if reply[0] == 354:
        client.send(re.sub(rb"(?m)^\.", b"..", content))  # RFC 5321 §4.5.2
        assert client.sock is not None
        client.sock.settimeout(limits.answer_s)
        watch.final_dot(limits.answer_s)
        try:
            client.send(b".\r\n")
            reply = client.getreply()
        except (OSError, smtplib.SMTPException):
            yield from (RecipientResult(address, Outcome.UNCERTAIN) for address in accepted)
            return
    elif reply[0] < 400:
        raise CommandRefused(command="DATA", server_line=line_of(reply), response_code=codes_of(reply))
    yield from (result_of(address, reply) for address in accepted)
