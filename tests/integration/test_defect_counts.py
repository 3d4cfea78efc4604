"""An operator sees how well mail is read: metrics count defects by code, and the log reports them."""

import re
from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot

UNKNOWN = b"Subject: x\r\nContent-Type: text/plain; charset=x-invented\r\n\r\ntext\r\n"


def figures(gateway: Gateway) -> dict[str, float]:
    """The counters of mails and defects that are not zero."""
    page = gateway.metrics.page(None).decode()
    found = re.findall(r"^(gateway_mails?_(?:stored|defects)_total\S*) (\S+)$", page, re.M)
    return {name: float(value) for name, value in found if float(value)}


def fetched(box: Mailbox) -> list[MutableMapping[str, Any]]:
    """What the log says of a cycle."""
    with capture_logs() as logged:
        box.fetch_well()
    return logged


def test_defects_are_counted_by_code_as_mails_are_stored(gateway: Gateway, dovecot: Dovecot) -> None:
    assert 'gateway_mail_defects_total{code="parser_error"} 0.0' in gateway.metrics.page(None).decode()
    box = mailbox(gateway, dovecot)
    dovecot.deliver_all(box.user, [mail("one"), UNKNOWN, UNKNOWN])
    logged = fetched(box)
    assert figures(gateway) == {
        "gateway_mails_stored_total": 3,
        'gateway_mail_defects_total{code="unknown_charset"}': 2,
    }
    assert [line["defects"] for line in logged if line["event"] == "fetch_cycle"] == [{"unknown_charset": 2}]
    assert [line for line in logged if line["event"] == "mails_unread"] == []
    box.fetch_well()
    assert figures(gateway)["gateway_mails_stored_total"] == 3


def test_mails_that_the_reader_failed_over_are_a_warning(gateway: Gateway, dovecot: Dovecot) -> None:
    box = mailbox(gateway, dovecot)
    slow = "<a " + " ".join(f"x{n}=1" for n in range(250_000)) + ">text</a>"
    dovecot.deliver(box.user, b"Subject: x\r\nContent-Type: text/html\r\n\r\n" + slow.encode())
    logged = fetched(box)
    [line] = [line for line in logged if line["event"] == "mails_unread"]
    assert (line["log_level"], line["stored"], line["parser_timeout"]) == ("warning", 1, 1)
    assert figures(gateway)['gateway_mail_defects_total{code="parser_timeout"}'] == 1


def test_a_mailbox_that_cannot_be_fetched_is_a_warning(gateway: Gateway, dovecot: Dovecot) -> None:
    box = mailbox(gateway, dovecot, source_folder="Nowhere")
    with capture_logs() as logged:
        box.fetch()
    [line] = [line for line in logged if line["event"] == "fetch_cycle"]
    assert (line["log_level"], line["error"]) == ("warning", "source_folder_missing")
    assert line["connector_id"] == box.connector.id
