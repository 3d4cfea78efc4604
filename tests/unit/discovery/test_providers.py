"""What is known about providers."""

from collections import Counter

import pytest

from app.schemas.connectors import ImapServer, SmtpServer
from app.services.discovery import providers
from app.services.discovery.candidates import Source
from app.states import Security

KNOWN = providers._providers()


@pytest.mark.parametrize("provider", KNOWN, ids=lambda each: each["name"])
def test_its_servers_are_what_a_connector_takes(provider: dict[str, object]) -> None:
    user = {"username": "jana@firma.cz"}
    imap, smtp = provider["imap"], provider["smtp"]
    assert isinstance(imap, dict)
    assert isinstance(smtp, dict)
    assert ImapServer.model_validate({**imap, **user}).security != Security.NONE
    assert SmtpServer.model_validate({**smtp, **user}).security != Security.NONE
    assert str(provider["documented"]).startswith("https://")


def test_no_domain_is_two_providers() -> None:
    counts = Counter(domain for provider in KNOWN for domain in provider["domains"])
    assert [domain for domain, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("exchangers", "host"),
    [
        (["d6e7a7cf4aef5fca.mx1.emailprofi.seznam.cz"], "imap.seznam.cz"),
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "imap.gmail.com"),
        (["firma-cz.mail.protection.outlook.com"], "outlook.office365.com"),
        (["mx.firma.cz", "firma-cz.k-v1.mx.microsoft"], "outlook.office365.com"),
        (["notseznam.cz"], None),
        (["seznam.cz.evil.example"], None),
        ([], None),
    ],
)
def test_who_receives_the_mail_tells_the_provider(exchangers: list[str], host: str | None) -> None:
    found = providers.of_mail_exchangers(exchangers, "jana@firma.cz")
    assert (found.imap.host if found is not None else None) == host
    assert found is None or (found.source == Source.MX and not found.foreign)


def test_of_two_names_the_longer_one_decides() -> None:
    found = providers.of_mail_exchangers(["hotmail-com.olc.protection.outlook.com"], "jana@firma.cz")
    assert found is not None
    assert found.smtp is not None
    assert found.smtp.host == "smtp-mail.outlook.com"


def test_microsoft_says_that_a_password_will_fail() -> None:
    found = providers.of_domain("outlook.com", "jana@outlook.com")
    assert found is not None
    assert found.hint is not None
    assert "password will fail" in found.hint
