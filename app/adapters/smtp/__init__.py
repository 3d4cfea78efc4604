"""Submits one mail over SMTP (RFC 5321, RFC 6409). Only this package imports smtplib.

One octet decides the outcome. Before the final dot of DATA the server must not deliver (RFC 5321 §4.1.1.4), so any trouble
is an error, and the mail may be tried again. Between the dot and the answer nobody knows the outcome: it is `UNCERTAIN`,
never an exception, and people must decide.

smtplib's own `data`, `login` and `starttls` are not used. The first does not distinguish before the dot from after it, the
second encodes a password as ASCII, the third wraps the socket in one step that no deadline can interrupt.
"""

from app.adapters.smtp.opening import extensions
from app.adapters.smtp.submission import Session, check, is_worn_out, submit
from app.adapters.smtp.values import Envelope, Limits, Outcome, RecipientResult, Server

__all__ = [
    "Envelope",
    "Limits",
    "Outcome",
    "RecipientResult",
    "Server",
    "Session",
    "check",
    "extensions",
    "is_worn_out",
    "submit",
]
