"""The limits of known providers for the mail of one account. Settings of the connector replace them.

The gateway counts mails. Microsoft's number for a day is of recipients, and the others limit recipients too. Mails to many may
so reach a provider's limit first; then its answers say so.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """How many mails may be sent. None: no limit."""

    per_minute: int | None = None
    per_day: int | None = None


GOOGLE_DOMAINS = frozenset({"gmail.com", "googlemail.com"})
GMAIL = Rates(per_day=500)  # https://support.google.com/mail/answer/22839
GOOGLE_WORKSPACE = Rates(per_day=2000)  # https://support.google.com/a/answer/166852
# https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits
EXCHANGE_ONLINE = Rates(per_minute=30, per_day=10_000)
ICLOUD = Rates(per_day=1000)  # https://support.apple.com/102198

BY_HOST = {
    "smtp.gmail.com": GOOGLE_WORKSPACE,
    "smtp.office365.com": EXCHANGE_ONLINE,
    "smtp.mail.me.com": ICLOUD,
}


def known(host: str, username: str | None) -> Rates:
    """The limits of the provider with this server, for this account."""
    is_google = host == "smtp.gmail.com"
    if is_google and (username or "").rpartition("@")[2].lower() in GOOGLE_DOMAINS:
        return GMAIL
    return BY_HOST.get(host, Rates())
