"""From one connector to another by a real mail server, Exim, which delivers into the mailboxes that the gateway fetches from."""

import base64

import httpx
import pytest

from tests.support.served_mailbox import PATIENCE_S, ServedMailbox
from tools.servers.dovecot import Dovecot
from tools.servers.exim import Exim
from tools.servers.process import wait_until
from tools.servers.smtp import SmtpServer

PDF = bytes(range(256)) * 40
TEXT = "Dobrý den,\n.\n..tečka na začátku řádku\nFrom me\n" + "x" * 2000


@pytest.fixture
def parties(
    served: httpx.Client, dovecot: Dovecot, exim: Exim, smtp_server: SmtpServer
) -> tuple[ServedMailbox, ServedMailbox]:
    """Two mailboxes that write to each other. Both send by Exim, not by the server for scripts."""
    made = []
    for group in ("sales", "buyers"):
        user = dovecot.new_user()
        with dovecot.client(user) as client:  # from now on it exists for Exim
            client.select_folder("INBOX")
        made.append(
            ServedMailbox.made(
                served,
                dovecot,
                smtp_server,
                group=group,
                user=user,
                email_address=user,
                sends_by=exim.login_of(user),
            )
        )
    return made[0], made[1]


def test_a_mail_its_answer_and_a_mail_that_comes_back(
    parties: tuple[ServedMailbox, ServedMailbox], dovecot: Dovecot
) -> None:
    sales, buyers = parties
    secret = dovecot.new_user()
    with dovecot.client(secret) as client:
        client.select_folder("INBOX")
    attachment = {
        "name": "Ceník 2026.pdf",
        "content_type": "application/pdf",
        "content_base64": base64.b64encode(PDF).decode(),
    }
    offer = sales.send(
        buyers.user,
        bcc=[secret],
        subject="Nabídka č. 7",
        text=TEXT,
        html="<p>Dobrý den</p>",
        attachments=[attachment],
    )
    assert offer["status"] == "sent"

    got = buyers.fetched_when_there()
    whole = buyers.call("GET", f"/messages/{got['id']}")
    assert (whole["subject"], whole["from"]["address"]) == ("Nabídka č. 7", sales.user)
    assert whole["text"].replace("\r\n", "\n").rstrip("\n") == TEXT.rstrip("\n")
    assert "Dobrý den" in whole["html"]
    assert [each["name"] for each in whole["attachments"]] == ["Ceník 2026.pdf"]
    assert buyers.asked("GET", f"/messages/{got['id']}/attachments/1").content == PDF
    source = buyers.asked("GET", f"/messages/{got['id']}/source").content
    assert secret.encode() not in source
    wait_until(lambda: len(dovecot.messages(secret)) == 1, PATIENCE_S, "the hidden copy")

    answer = buyers.send(sales.user, subject="", in_reply_to=got["id"])
    assert answer["subject"] == "Re: Nabídka č. 7"
    back = sales.fetched_when_there()
    assert back["in_reply_to"] == offer["message_id_header"]
    assert back["references"] == [offer["message_id_header"]]
    assert back["conversation_id"] == offer["conversation_id"]

    lost = sales.send("nobody@firma.test", buyers.user)
    assert lost["status"] == "sent"
    report = sales.fetched_when_there()
    now = sales.submission(lost["id"])
    assert {each["address"]: each["status"] for each in now["recipients"]} == {
        "nobody@firma.test": "bounced",
        buyers.user: "sent",
    }
    assert (now["status"], now["error"]["code"]) == ("partly_sent", "bounced")
    [event] = sales.events("submission.bounced", f"submissions/{lost['id']}")
    assert event["message_id"] == report["id"]
    assert buyers.fetched_when_there()["subject"] == "Order"
