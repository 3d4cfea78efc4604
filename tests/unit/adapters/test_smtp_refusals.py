"""What a refusal of a sending server means."""

import pytest

from app.adapters.smtp.refusals import is_about_number, meaning_of


def reply(text: str) -> tuple[int, bytes]:
    code, _, rest = text.partition(" ")
    return int(code), rest.encode()


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        ("MAIL", "552 5.3.4 Message size exceeds fixed limit", "mail_too_large"),
        ("MAIL", "552 too big for us", "mail_too_large"),
        ("MAIL", "554 5.2.252 SendAsDenied", "sender_refused"),
        ("MAIL", "550 5.7.60 Client does not have permissions to send as this sender", "sender_refused"),
        ("MAIL", "553 sender rejected", "sender_refused"),
        ("MAIL", "530 5.7.0 Authentication required", "login_wanted"),
        ("MAIL", "530 Must issue a STARTTLS command first", "login_wanted"),
        ("MAIL", "451 4.3.0 Later", "mail_deferred"),
        ("MAIL", "452 4.3.1 Insufficient system storage", "mail_deferred"),
        ("MAIL", "421 4.7.0 Closing", "too_many_connections"),
        ("MAIL", "501 Syntax error", "command_refused"),
        ("RCPT", "550 5.1.1 No such user", "recipient_refused"),
        ("RCPT", "552 5.2.2 Mailbox full", "recipient_refused"),
        ("RCPT", "552 Mailbox full", "recipient_refused"),
        ("RCPT", "552 5.3.4 Message too big for system", "mail_too_large"),
        ("RCPT", "552 Message size exceeds fixed maximum message size", "mail_too_large"),
        ("RCPT", "450 4.2.0 Greylisted", "mail_deferred"),
        ("DATA", "552 5.2.3 Message length exceeds administrative limit", "mail_too_large"),
        ("DATA", "552 message too large", "mail_too_large"),
        ("DATA", "554 5.7.1 Spam", "mail_refused"),
        ("DATA", "552 5.2.2 Quota", "mail_refused"),
        ("DATA", "452 4.3.1 Full", "mail_deferred"),
        ("DATA", "550 5.4.5 Daily user sending limit exceeded. For more", "sending_limit_reached"),
        ("MAIL", "550 5.4.5 Daily SMTP relay sending quota exceeded.", "sending_limit_reached"),
        (
            "RCPT",
            "550 5.1.90 You have reached your daily limit for message recipients",
            "sending_limit_reached",
        ),
        ("DATA", "554 5.2.2 Submission quota exceeded", "sending_limit_reached"),
        (
            "DATA",
            "550 5.7.1 a@icloud.com: You have exceeded your daily sending limit.",
            "sending_limit_reached",
        ),
        ("MAIL", "450 4.4.5 Daily sending quota exceeded", "sending_limit_reached"),
        ("MAIL", "550 5.4.5 Congestion", "sender_refused"),
        ("RCPT", "552 5.2.2 The recipient has exceeded the quota of a day", "recipient_refused"),
        ("RCPT", "550 5.1.1 Daily sending limit exceeded", "recipient_refused"),
        ("DATA", "550 5.7.1 Not sent: spam", "mail_refused"),
        ("DATA", "550 daily sending limit exceeded", "mail_refused"),
        ("DATA", "552 5.3.4 Message size exceeds the limit", "mail_too_large"),
        ("CONNECT", "554 5.7.1 Not from your address", "command_refused"),
        ("CONNECT", "450 later", "mail_server_unavailable"),
        ("EHLO", "550 5.7.1 Bad name", "command_refused"),
    ],
)
def test_a_refusal_is_what_it_is(command: str, said: str, code: str) -> None:
    assert meaning_of(reply(said), command).code == code


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("452 4.5.3 Too many recipients", True),
        ("452 Too many recipients", True),
        ("452 later", True),
        ("552 5.5.3 Too many recipients", True),
        ("552 too many recipients", True),
        ("550 5.5.3 Too many recipients this session", True),
        ("451 4.5.3 Too many recipients", True),
        ("452 4.5.0 Too many recipients", True),
        ("452 4.2.2 Mailbox full", False),
        ("452 4.3.1 Insufficient storage", False),
        ("552 5.2.2 Mailbox full", False),
        ("552 Mailbox full", False),
        ("550 5.1.1 No such user", False),
        ("250 2.1.5 OK, too many recipients soon", False),
    ],
)
def test_too_many_recipients_is_about_the_transaction(said: str, expected: bool) -> None:
    assert is_about_number(reply(said)) is expected
