"""`/submissions`: queueing, repeating, listing and cancelling a mail, and what is refused."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app import clock
from app.adapters import compression
from app.gateway import Gateway
from app.models import Connector, Event, Submission, SubmissionBody
from app.services.sending.sender import Sender
from app.states import SubmissionStatus
from tests.support.callers import Callers
from tests.support.each_case import each_case
from tests.support.sending_mailbox import sending_connector
from tests.support.stored_mail import connector, mail, store
from tools.servers.smtp import SmtpServer

JANA = Callers.user("jana", groups=["orders"])
PETR = Callers.user("petr")
STRANGER = Callers.user("stranger", groups=["others"])
ADMIN = Callers.user("admin", admin=True)


@pytest.fixture
def orders(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    """A shared mailbox, bound to the group `orders`."""
    return sending_connector(gateway, smtp_server, groups=["orders"], name="Objednávky, Firma s. r. o.")


@pytest.fixture
def private(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    """Petr's own mailbox."""
    return sending_connector(gateway, smtp_server, owner="petr")


def assert_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


def assert_refused(answer: Any, *pointers: str) -> None:
    assert_problem(answer, 422, "invalid_input")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == list(pointers)


def body(at: Connector, **fields: Any) -> dict[str, Any]:
    return {"connector_id": at.id, "to": ["karel@example.com"], "subject": "Order", "text": "Hello", **fields}


def composed(gateway: Gateway, submission_id: str) -> EmailMessage:
    """The mail as it is queued."""
    with gateway.db.reading() as session:
        row = session.exec(select(Submission).where(col(Submission.id) == submission_id)).one()
    assert row.source_zstd is not None
    message = message_from_bytes(compression.decompress(row.source_zstd), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def send_all(gateway: Gateway) -> None:
    """One run of the job."""
    sender = Sender(gateway)
    sender.send_due()
    assert sender.wait(30)
    sender.stop()


class TestCreate:
    def test_queues_a_mail(self, client: TestClient, orders: Connector) -> None:
        answer = client.post("/submissions", json=body(orders, cc=["Eva <eva@Example.com>"]), headers=JANA)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["status"] == "queued"
        assert made["recipients"] == [
            {"address": "karel@example.com", "status": "pending", "detail": None},
            {"address": "eva@example.com", "status": "pending", "detail": None},
        ]
        assert made["message_id_header"].endswith("@firma.cz>")
        assert made["attempts"] == 0
        assert made["next_attempt_at"].endswith("Z")
        assert client.get(f"/submissions/{made['id']}", headers=JANA).json() == made

    def test_czech_reaches_the_recipient_whole(
        self, client: TestClient, gateway: Gateway, orders: Connector, smtp_server: SmtpServer
    ) -> None:
        content = base64.b64encode(b"\x00\xff\r\n.\r\n").decode()
        wanted = body(
            orders,
            to=["Žofie Nováková <zofie@příklad.cz>"],
            subject="Příliš žluťoučký kůň",
            text="Dobrý den,\n.\nděkuji\n",
            html="<p>Dobrý den</p>",
            attachments=[
                {"name": "ceník č. 1.pdf", "content_type": "application/pdf", "content_base64": content}
            ],
        )
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        sender = Sender(gateway)
        sender.send_due()
        assert sender.wait(30)
        sender.stop()
        assert client.get(f"/submissions/{made['id']}", headers=JANA).json()["status"] == "sent"
        [received] = smtp_server.mails
        assert received.envelope_recipients == ("zofie@xn--pklad-zsa96e.cz",)
        message = message_from_bytes(received.raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        assert message["Subject"] == "Příliš žluťoučký kůň"
        assert message["From"].addresses[0].addr_spec == "info@firma.cz"
        assert message["From"].addresses[0].display_name == "Objednávky, Firma s. r. o."
        text = message.get_body(("plain",))
        assert text is not None
        assert text.get_content().splitlines() == ["Dobrý den,", ".", "děkuji"]
        [attachment] = message.iter_attachments()
        assert attachment.get_filename() == "ceník č. 1.pdf"
        assert attachment.get_content() == b"\x00\xff\r\n.\r\n"

    def test_bcc_is_in_no_header_and_each_address_is_once_in_the_envelope(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        wanted = body(orders, to=["a@b.cz"], cc=["A@B.cz"], bcc=["a@b.cz", "tajny@b.cz"])
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        assert [each["address"] for each in made["recipients"]] == ["a@b.cz", "tajny@b.cz"]
        message = composed(gateway, made["id"])
        assert "tajny" not in message.as_string()
        assert message["Bcc"] is None

    def test_a_personal_mailbox_shows_no_name(
        self, client: TestClient, gateway: Gateway, private: Connector
    ) -> None:
        made = client.post("/submissions", json=body(private), headers=PETR).json()
        assert composed(gateway, made["id"])["From"] == "info@firma.cz"

    def test_the_name_of_the_sender_and_the_address_for_answers_can_be_given(
        self, client: TestClient, gateway: Gateway, private: Connector
    ) -> None:
        wanted = body(private, from_name="Petr Žák", reply_to=["Objednávky <orders@firma.cz>"])
        made = client.post("/submissions", json=wanted, headers=PETR).json()
        message = composed(gateway, made["id"])
        assert str(message["From"]) == "Petr Žák <info@firma.cz>"
        assert str(message["Reply-To"]) == "Objednávky <orders@firma.cz>"
        assert [each["address"] for each in made["recipients"]] == ["karel@example.com"]

    def test_attachments_are_taken_as_mime_libraries_write_them(
        self, client: TestClient, gateway: Gateway, private: Connector
    ) -> None:
        content = bytes(range(256)) * 2
        wanted = [
            {"name": "\u200ea.bin", "content_base64": base64.encodebytes(content).decode()},
            {"name": "b.bin", "content_base64": base64.encodebytes(content).decode().replace("\n", "\r\n\t")},
            {
                "name": "logo.png",
                "content_type": "image/png",
                "content_base64": "eA==",
                "content_id": "<logo>",
            },
        ]
        made = client.post(
            "/submissions",
            json=body(private, html='<img src="cid:logo">', attachments=wanted),
            headers=PETR,
        )
        assert made.status_code == 201, made.text
        message = composed(gateway, made.json()["id"])
        assert [(each.get_filename(), each.get_content()) for each in message.iter_attachments()] == [
            ("a.bin", content),
            ("b.bin", content),
        ]
        [image] = [part for part in message.walk() if part.get_content_type() == "image/png"]
        assert image["Content-ID"] == "<logo>"

    def test_a_name_of_a_connector_cannot_inject(
        self, client: TestClient, gateway: Gateway, smtp_server: SmtpServer
    ) -> None:
        name = "=?UTF-8?Q?=0A?=Bcc: evil@example.com"
        at = sending_connector(gateway, smtp_server, groups=["orders"], name=name)
        made = client.post("/submissions", json=body(at), headers=JANA).json()
        message = composed(gateway, made["id"])
        assert (message["From"], message["Bcc"]) == ("info@firma.cz", None)


class TestFrom:
    @pytest.fixture
    def shop(self, gateway: Gateway, smtp_server: SmtpServer) -> Connector:
        """A shared mailbox with two more addresses."""
        aliases = ["Shop@Firma.cz", "obchod@háčky.cz"]
        return sending_connector(gateway, smtp_server, groups=["orders"], name="Shop", aliases=aliases)

    @pytest.mark.parametrize(
        ("asked", "address", "name"),
        [
            ("shop@firma.cz", "Shop@firma.cz", "Shop"),
            ("Obchod <SHOP@firma.cz>", "Shop@firma.cz", "Obchod"),
            ("obchod@háčky.cz", "obchod@xn--hky-ela4t.cz", "Shop"),
            ("obchod@xn--hky-ela4t.cz", "obchod@xn--hky-ela4t.cz", "Shop"),
            ("INFO@firma.cz", "info@firma.cz", "Shop"),
            (None, "info@firma.cz", "Shop"),
        ],
    )
    def test_a_mail_goes_out_from_the_address_or_an_alias(
        self,
        client: TestClient,
        gateway: Gateway,
        shop: Connector,
        smtp_server: SmtpServer,
        asked: str | None,
        address: str,
        name: str,
    ) -> None:
        wanted = body(shop, **({"from": asked} if asked is not None else {}))
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        assert made["from"] == address
        send_all(gateway)
        [sent] = smtp_server.mails
        assert sent.envelope_from == address
        sender = composed(gateway, made["id"])["From"].addresses[0]
        assert (sender.addr_spec, sender.display_name) == (address, name)
        assert made["message_id_header"].endswith(f"@{address.partition('@')[2]}>")

    def test_the_name_for_this_mail_counts_more_than_the_one_in_the_address(
        self, client: TestClient, gateway: Gateway, shop: Connector
    ) -> None:
        wanted = body(shop, **{"from": "Obchod <shop@firma.cz>"}, from_name="Prodejna")
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        assert composed(gateway, made["id"])["From"].addresses[0].display_name == "Prodejna"

    @each_case(
        "asked",
        [
            "boss@firma.cz",
            "shop@firma.cz.evil.example",
            "shop@firma.cz, boss@firma.cz",
            "shop@firma.cz\r\nBcc: x@y.cz",
            "Shop <shop@firma.cz> <boss@firma.cz>",
            "",
            "shop",
        ],
    )
    def test_no_other_address_is_sent_from(self, client: TestClient, shop: Connector, asked: str) -> None:
        answer = client.post("/submissions", json=body(shop, **{"from": asked}), headers=JANA)
        assert_refused(answer, "/from")

    def test_the_aliases_of_another_mailbox_do_not_count(
        self, client: TestClient, orders: Connector, shop: Connector
    ) -> None:
        answer = client.post("/submissions", json=body(orders, **{"from": "shop@firma.cz"}), headers=JANA)
        assert_refused(answer, "/from")


class TestAnswer:
    def test_joins_the_thread_of_the_message(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, mail("Dotaz", "Message-ID: <2@x>", "References: <0@x> <1@x>"))
        wanted = body(orders, subject="", in_reply_to=message_id)
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        assert (made["in_reply_to"], made["subject"]) == (message_id, "Re: Dotaz")
        message = composed(gateway, made["id"])
        assert message["In-Reply-To"] == "<2@x>"
        assert str(message["References"]).split() == ["<0@x>", "<1@x>", "<2@x>"]

    @pytest.mark.parametrize(
        ("subject", "expected"),
        [
            ("Re: Dotaz", "Re: Dotaz"),
            ("=?utf-8?Q?=3D=3Futf-8=3FQ=3F=3D0ABcc:_a@b.cz=3F=3D?=", "Re: = ?utf-8?Q?=0ABcc: a@b.cz?="),
            ("", "Re:"),
        ],
    )
    def test_an_answer_without_a_subject_gets_that_of_the_message(
        self, client: TestClient, gateway: Gateway, orders: Connector, subject: str, expected: str
    ) -> None:
        [message_id] = store(gateway, orders, mail(subject))
        wanted = body(orders, subject=" ", in_reply_to=message_id)
        answer = client.post("/submissions", json=wanted, headers=JANA)
        assert answer.status_code == 201, answer.text
        assert answer.json()["subject"] == expected
        own = client.post("/submissions", json=body(orders, in_reply_to=message_id, also=True), headers=JANA)
        assert own.json()["subject"] == "Order"

    def test_a_message_without_a_message_id_gives_no_thread(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, mail())
        made = client.post("/submissions", json=body(orders, in_reply_to=message_id), headers=JANA).json()
        message = composed(gateway, made["id"])
        assert (message["In-Reply-To"], message["References"]) == (None, None)

    def test_a_message_of_another_mailbox_that_the_caller_reads_can_be_answered(
        self, client: TestClient, gateway: Gateway, orders: Connector, private: Connector
    ) -> None:
        elsewhere = connector(gateway, groups=["orders"])
        [message_id] = store(gateway, elsewhere, mail("Dotaz", "Message-ID: <2@x>"))
        made = client.post("/submissions", json=body(orders, in_reply_to=message_id), headers=JANA)
        assert made.status_code == 201, made.text
        assert composed(gateway, made.json()["id"])["In-Reply-To"] == "<2@x>"
        [foreign] = store(gateway, private, mail())
        for unseen in (foreign, "0" * 32):
            answer = client.post("/submissions", json=body(orders, in_reply_to=unseen), headers=JANA)
            assert_refused(answer, "/in_reply_to")

    def test_an_odd_message_id_is_returned_as_it_was_written(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        headers = ("Message-ID: <2026 1@x.cz>", f"In-Reply-To: <{'a' * 300}@x.cz>")
        [message_id] = store(gateway, orders, mail("Dotaz", *headers))
        made = client.post("/submissions", json=body(orders, in_reply_to=message_id), headers=JANA).json()
        message = composed(gateway, made["id"])
        assert message["In-Reply-To"] == "<2026 1@x.cz>"
        assert str(message["References"]) == f"<{'a' * 300}@x.cz> <2026 1@x.cz>"

    def test_a_program_does_not_answer_a_program(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        by_program = mail("Out of office", "Auto-Submitted: auto-replied")
        automatic, personal = store(gateway, orders, by_program, mail("Dotaz"))
        marked = {"auto_submitted": "auto-replied"}
        answer = client.post("/submissions", json=body(orders, in_reply_to=automatic, **marked), headers=JANA)
        assert_problem(answer, 409, "answer_to_automatic_mail")
        for fields in ({"in_reply_to": automatic}, {"in_reply_to": personal, **marked}, marked):
            made = client.post("/submissions", json=body(orders, **fields), headers=JANA)
            assert made.status_code == 201, made.text
            message = composed(gateway, made.json()["id"])
            assert message["Auto-Submitted"] == fields.get("auto_submitted")

    def test_a_key_that_may_not_read_may_not_answer(
        self, client: TestClient, gateway: Gateway, orders: Connector, callers: Callers
    ) -> None:
        [message_id] = store(gateway, orders, mail())
        key = callers.key(["submissions:write"])
        answer = client.post("/submissions", json=body(orders, in_reply_to=message_id), headers=key)
        assert_problem(answer, 403, "scope_missing")


ATTACHMENT = {"name": "a", "content_type": "text/plain", "content_base64": "eA=="}


class TestKept:
    def test_what_was_asked_to_be_sent_can_be_read(
        self, client: TestClient, gateway: Gateway, orders: Connector, callers: Callers
    ) -> None:
        image = {
            "name": "logo.png",
            "content_type": "image/png",
            "content_base64": "eA==",
            "content_id": "logo",
        }
        wanted = body(
            orders,
            to=["Karel <karel@example.com>"],
            cc=[],
            bcc=["tajny@example.com"],
            text="Dlouhá odpověď zákazníkovi.",
            html='<p>Ahoj<img src="cid:logo"></p>',
            attachments=[
                {"name": "ceník.pdf", "content_type": "application/pdf", "content_base64": "AP8="},
                image,
                {"name": "empty.html", "content_type": "text/html", "content_base64": ""},
            ],
        )
        made = client.post("/submissions", json=wanted, headers=JANA).json()
        path = f"/submissions/{made['id']}"
        found = client.get(path, headers=JANA).json()
        assert found == made
        asked = ("to", "cc", "bcc", "subject", "text", "html")
        assert {name: found[name] for name in asked} == {name: wanted[name] for name in asked}
        files = [
            (each["n"], each["name"], each["size_octets"], each["inline"]) for each in found["attachments"]
        ]
        assert files == [(1, "ceník.pdf", 2, False), (2, "logo.png", 1, True), (3, "empty.html", 0, False)]
        got = [client.get(f"{path}/attachments/{n}", headers=JANA) for n in (1, 2, 3)]
        assert [each.content for each in got] == [b"\x00\xff", b"x", b""]
        assert got[2].headers["content-type"] == "application/octet-stream"
        source = client.get(f"{path}/source", headers=JANA)
        assert source.headers["content-type"] == "message/rfc822"
        assert message_from_bytes(source.content)["Message-ID"] == made["message_id_header"]
        as_json = client.get(f"{path}/source", headers={**JANA, "Accept": "application/json"})
        assert as_json.json() == {"source": source.content.decode("ascii")}
        for accepted in (
            "*/*",
            "message/rfc822, application/json;q=0.5",
            "application/json, */*;q=0.1",
            "message/*",
        ):
            answer = client.get(f"{path}/source", headers={**JANA, "Accept": accepted})
            assert (answer.headers["content-type"], answer.content) == ("message/rfc822", source.content)
        assert_problem(client.get(f"{path}/attachments/4", headers=JANA), 404, "not_found")
        sends = callers.key(["submissions:write"])
        unread = client.get(path, headers=sends).json()
        assert (unread["text"], unread["html"], unread["to"], unread["attachments"]) == (None, None, [], [])
        assert_problem(client.get(f"{path}/source", headers=sends), 403, "scope_missing")
        for caller in (STRANGER, ADMIN):
            for what in ("source", "attachments/1"):
                assert_problem(client.get(f"{path}/{what}", headers=caller), 404, "not_found")

    def test_a_refused_mail_says_why_and_can_be_sent_again(
        self,
        client: TestClient,
        gateway: Gateway,
        orders: Connector,
        smtp_server: SmtpServer,
        callers: Callers,
    ) -> None:
        smtp_server.behaviour.data_reply = "554 5.7.1 Looks like spam"
        path = f"/submissions/{client.post('/submissions', json=body(orders), headers=JANA).json()['id']}"
        assert_problem(client.post(f"{path}/retry", headers=JANA), 409, "wrong_state")
        send_all(gateway)
        failed = client.get(path, headers=JANA).json()
        assert (failed["status"], failed["text"]) == ("failed", "Hello")
        assert failed["error"] == {
            "code": "mail_refused",
            "detail": "The mail server refused the mail (554 5.7.1).",
            "enhanced_status": "5.7.1",
            "server_text": "554 5.7.1 Looks like spam",
        }
        sends = callers.key(["submissions:write"])
        assert client.get(path, headers=sends).json()["error"]["server_text"] is None
        smtp_server.behaviour.data_reply = None
        again = client.post(f"{path}/retry", headers=JANA)
        assert (again.status_code, again.json()["status"], again.json()["error"]) == (200, "queued", None)
        send_all(gateway)
        assert client.get(path, headers=JANA).json()["status"] == "sent"
        assert_problem(client.post(f"{path}/retry", headers=JANA), 409, "wrong_state")
        assert [mail.answer for mail in smtp_server.mails] == [
            "554 5.7.1 Looks like spam",
            "250 2.0.0 Queued",
        ]

    def test_one_of_unknown_outcome_is_sent_again_by_command_alone_and_can_be_deleted(
        self, client: TestClient, gateway: Gateway, orders: Connector, smtp_server: SmtpServer
    ) -> None:
        smtp_server.behaviour.drop_after_dot = True
        made = [client.post("/submissions", json=body(orders), headers=JANA).json()["id"] for _ in range(2)]
        first, second = (f"/submissions/{each}" for each in made)
        send_all(gateway)
        smtp_server.behaviour.drop_after_dot = False
        send_all(gateway)
        for path in (first, second):
            found = client.get(path, headers=JANA).json()
            assert (found["status"], found["error"]["code"]) == ("uncertain", "outcome_unknown")
        assert client.post(f"{first}/retry", headers=JANA).status_code == 200
        assert client.delete(second, headers=JANA).status_code == 204
        assert_problem(client.get(second, headers=JANA), 404, "not_found")
        send_all(gateway)
        assert client.get(first, headers=JANA).json()["status"] == "sent"
        assert len(smtp_server.mails) == 3

    def test_one_of_before_such_mail_was_kept_says_so(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        made = client.post("/submissions", json=body(orders), headers=JANA).json()
        with gateway.db.unit_of_work() as session:
            row = session.exec(select(Submission).where(col(Submission.id) == made["id"])).one()
            row.status, row.source_zstd, row.next_attempt_at = SubmissionStatus.FAILED, None, None
            session.delete(session.exec(select(SubmissionBody)).one())
        path = f"/submissions/{made['id']}"
        found = client.get(path, headers=JANA).json()
        assert (found["text"], found["subject"], found["to"]) == (None, "Order", [])
        assert_problem(client.get(f"{path}/source", headers=JANA), 404, "not_found")
        assert_problem(client.get(f"{path}/attachments/1", headers=JANA), 404, "not_found")
        assert_problem(client.post(f"{path}/retry", headers=JANA), 409, "wrong_state")

    def test_a_connector_with_queued_mail_is_deleted_only_with_it(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        ids = [client.post("/submissions", json=body(orders), headers=JANA).json()["id"] for _ in range(2)]
        path = f"/connectors/{orders.id}"
        assert_problem(client.delete(path, headers=ADMIN), 409, "submissions_queued")
        assert_problem(client.delete(f"{path}?messages=delete", headers=ADMIN), 409, "submissions_queued")
        assert client.get(f"/submissions/{ids[0]}", headers=JANA).json()["status"] == "queued"
        assert client.delete(f"{path}?submissions=cancel", headers=ADMIN).status_code == 204
        with gateway.db.reading() as session:
            rows = session.exec(select(Event).where(col(Event.type).contains("submission"))).all()
        ended = {(row.data["submission_id"], row.data["status"]) for row in rows}
        assert ended == {(each, "cancelled") for each in ids}

    def test_an_answer_is_in_the_conversation_of_the_message(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        [message_id] = store(gateway, orders, mail("Dotaz", "Message-ID: <2@x>"))
        made = client.post("/submissions", json=body(orders, in_reply_to=message_id), headers=JANA).json()
        message = client.get(f"/messages/{message_id}", headers=JANA).json()
        assert made["conversation_id"] == message["conversation_id"]
        first = client.post("/submissions", json=body(orders), headers=JANA).json()
        [reply_id] = store(gateway, orders, mail("Re: Order", f"In-Reply-To: {first['message_id_header']}"))
        reply = client.get(f"/messages/{reply_id}", headers=JANA).json()
        assert reply["conversation_id"] == first["conversation_id"]


class TestRefused:
    @each_case(
        ("fields", "pointers"),
        [
            ({"to": []}, ["/to"]),
            ({"to": ["a@b.cz", "nobody"]}, ["/to/1"]),
            ({"to": ["x"], "cc": ["y"], "bcc": ["z"]}, ["/to/0", "/cc/0", "/bcc/0"]),
            ({"to": ["a@b.cz\r\nBcc: c@d.cz"]}, ["/to/0"]),
            ({"to": ["=?UTF-8?Q?=0A?= <a@b.cz>"]}, ["/to/0"]),
            ({"to": ["žluť@b.cz"]}, ["/to/0"]),
            ({"bcc": ["a@b.cz, c@d.cz"]}, ["/bcc/0"]),
            ({"subject": "a\nBcc: c@d.cz"}, ["/subject"]),
            ({"subject": "=?UTF-8?Q?=0A?=Bcc: c@d.cz"}, ["/subject"]),
            ({"subject": "\ud800"}, ["/subject"]),
            ({"subject": "x" * 999}, ["/subject"]),
            ({"text": None}, ["/text"]),
            ({"text": "a\x00"}, ["/text"]),
            ({"html": "\ud800"}, ["/html"]),
            ({"attachments": [{**ATTACHMENT, "content_base64": "?"}]}, ["/attachments/0/content_base64"]),
            ({"attachments": [{**ATTACHMENT, "content_base64": "eA"}]}, ["/attachments/0/content_base64"]),
            ({"attachments": [{**ATTACHMENT, "content_base64": "é"}]}, ["/attachments/0/content_base64"]),
            ({"attachments": [ATTACHMENT, {**ATTACHMENT, "name": "a\r\nb"}]}, ["/attachments/1/name"]),
            ({"attachments": [{**ATTACHMENT, "name": "=?a?Q?=0A?="}]}, ["/attachments/0/name"]),
            ({"attachments": [{**ATTACHMENT, "content_type": "a/b\nX: y"}]}, ["/attachments/0/content_type"]),
            (
                {"attachments": [{**ATTACHMENT, "content_type": "multipart/x"}]},
                ["/attachments/0/content_type"],
            ),
            ({"in_reply_to": "\r\n"}, ["/in_reply_to"]),
            ({"reply_to": ["nobody"]}, ["/reply_to/0"]),
            ({"from_name": "=?UTF-8?Q?=0A?=Bcc: x@y.cz"}, ["/from_name"]),
            ({"auto_submitted": "no"}, ["/auto_submitted"]),
            (
                {"attachments": [{**ATTACHMENT, "content_id": "x"}]},
                ["/attachments/0/content_id"],
            ),
            ({"send_at": "2020-01-01T00:00:00"}, ["/send_at"]),
            ({"send_at": "0001-01-01T00:00:00+14:00"}, ["/send_at"]),
            ({"send_at": "9999-12-31T23:59:59-01:00"}, ["/send_at"]),
            ({"sender": "x@y.cz"}, ["/sender"]),
        ],
    )
    @pytest.mark.any_database
    def test_bad_input_is_named(
        self, client: TestClient, orders: Connector, fields: dict[str, Any], pointers: list[str]
    ) -> None:
        wanted = json.dumps(body(orders, **fields))
        headers = {**JANA, "Content-Type": "application/json"}
        assert_refused(client.post("/submissions", content=wanted, headers=headers), *pointers)
        assert client.get("/submissions", headers=JANA).json()["data"] == []

    def test_a_connector_without_smtp(self, client: TestClient, gateway: Gateway) -> None:
        at = connector(gateway, groups=["orders"])
        assert_refused(client.post("/submissions", json=body(at), headers=JANA), "/connector_id")

    def test_a_connector_without_credentials(
        self, client: TestClient, gateway: Gateway, smtp_server: SmtpServer
    ) -> None:
        at = sending_connector(gateway, smtp_server, groups=["orders"], password=None)
        assert_problem(client.post("/submissions", json=body(at), headers=JANA), 409, "wrong_state")

    def test_a_mail_over_the_limit(self, client: TestClient, gateway: Gateway, orders: Connector) -> None:
        limit = gateway.settings.max_message_octets
        # Twice in base64: below the limit as a request in parts, above it as a mail.
        content = "QUFB" * (limit // 4 // 2)
        one = {"name": "a", "content_type": "application/x", "content_base64": content}
        answer = client.post("/submissions", json=body(orders, attachments=[one, one]), headers=JANA)
        assert_problem(answer, 413, "too_large")

    def test_a_foreign_connector_is_not_found(
        self, client: TestClient, orders: Connector, private: Connector
    ) -> None:
        for caller in (JANA, STRANGER, ADMIN):
            assert_problem(client.post("/submissions", json=body(private), headers=caller), 404, "not_found")
        assert_problem(client.post("/submissions", json=body(orders)), 401, "unauthenticated")


class TestIdempotency:
    def test_a_repeated_request_is_answered_alike(self, client: TestClient, orders: Connector) -> None:
        headers = {**JANA, "Idempotency-Key": "k 1"}
        first = client.post("/submissions", json=body(orders), headers=headers)
        again = client.post("/submissions", json=body(orders), headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert len(client.get("/submissions", headers=JANA).json()["data"]) == 1

    def test_another_request_with_the_key_is_refused(self, client: TestClient, orders: Connector) -> None:
        headers = {**JANA, "Idempotency-Key": "k"}
        client.post("/submissions", json=body(orders), headers=headers)
        other = client.post("/submissions", json=body(orders, text="Other"), headers=headers)
        assert_problem(other, 409, "idempotency_mismatch")

    def test_another_caller_has_keys_of_their_own(self, client: TestClient, orders: Connector) -> None:
        colleague = Callers.user("eva", groups=["orders"])
        ids = {
            client.post("/submissions", json=body(orders), headers={**who, "Idempotency-Key": "k"}).json()[
                "id"
            ]
            for who in (JANA, colleague)
        }
        assert len(ids) == 2

    def test_requests_with_one_key_at_the_same_time_make_one_submission(
        self, client: TestClient, orders: Connector
    ) -> None:
        headers = {**JANA, "Idempotency-Key": "k"}
        with ThreadPoolExecutor(6) as pool:
            answers = list(
                pool.map(lambda _: client.post("/submissions", json=body(orders), headers=headers), range(6))
            )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1

    @pytest.mark.parametrize("key", ["", "x" * 256, "é"])
    def test_a_key_is_a_line_of_ascii(self, client: TestClient, orders: Connector, key: str) -> None:
        headers = {**JANA, "Idempotency-Key": key.encode()}
        assert_refused(client.post("/submissions", json=body(orders), headers=headers), "/Idempotency-Key")


class TestList:
    def test_submissions_are_listed_in_pages_for_callers_who_may_send(
        self, client: TestClient, orders: Connector, private: Connector
    ) -> None:
        made = [
            client.post("/submissions", json=body(orders, subject=str(n)), headers=JANA).json()
            for n in range(3)
        ]
        client.post("/submissions", json=body(private), headers=PETR)
        first = client.get("/submissions?limit=2", headers=JANA).json()
        assert first["has_more"] is True
        rest = client.get("/submissions", params={"after": first["next_cursor"]}, headers=JANA).json()
        assert (rest["has_more"], rest["next_cursor"]) == (False, None)
        key = lambda each: str(each["id"])  # noqa: E731
        unlisted = {"to", "cc", "bcc", "text", "html", "attachments"}
        assert [*first["data"], *rest["data"]] == [
            {name: value for name, value in each.items() if name not in unlisted}
            for each in sorted(made, key=key)
        ]
        for nobody in (STRANGER, ADMIN):
            assert client.get("/submissions", headers=nobody).json()["data"] == []

    def test_filters_by_connector_and_status(
        self, client: TestClient, orders: Connector, private: Connector
    ) -> None:
        client.post("/submissions", json=body(orders), headers=JANA)
        params = {"connector_id": orders.id, "status": "queued"}
        assert len(client.get("/submissions", params=params, headers=JANA).json()["data"]) == 1
        assert client.get("/submissions?status=sent", headers=JANA).json()["data"] == []
        assert_problem(
            client.get("/submissions", params={"connector_id": private.id}, headers=JANA), 404, "not_found"
        )

    @each_case(
        ("query", "pointer"),
        [("limit=0", "/limit"), ("after=!", "/after"), ("status=x", "/status"), ("stat=sent", "/stat")],
    )
    @pytest.mark.any_database
    def test_a_list_of_submissions_with_a_wrong_parameter_is_refused(
        self, client: TestClient, query: str, pointer: str
    ) -> None:
        assert_refused(client.get(f"/submissions?{query}", headers=JANA), pointer)

    def test_listing_submissions_without_a_token_is_401(self, client: TestClient) -> None:
        assert_problem(client.get("/submissions"), 401, "unauthenticated")


class TestOne:
    def test_a_foreign_one_and_an_absent_one_answer_alike(
        self, client: TestClient, private: Connector
    ) -> None:
        made = client.post("/submissions", json=body(private), headers=PETR).json()
        for caller in (JANA, STRANGER, ADMIN):
            for submission_id in (made["id"], "0" * 32):
                path = f"/submissions/{submission_id}"
                assert_problem(client.get(path, headers=caller), 404, "not_found")
                assert_problem(client.delete(path, headers=caller), 404, "not_found")
        assert client.get(f"/submissions/{made['id']}", headers=PETR).json()["status"] == "queued"

    def test_a_key_needs_the_scope(self, client: TestClient, orders: Connector, callers: Callers) -> None:
        made = client.post("/submissions", json=body(orders), headers=JANA).json()
        reads, sends = callers.key(["messages:read"]), callers.key(["submissions:write"])
        path = f"/submissions/{made['id']}"
        assert_problem(client.post("/submissions", json=body(orders), headers=reads), 403, "scope_missing")
        assert_problem(client.get("/submissions", headers=reads), 403, "scope_missing")
        assert_problem(client.get(path, headers=reads), 403, "scope_missing")
        assert_problem(client.delete(path, headers=reads), 403, "scope_missing")
        assert client.get(path, headers=sends).status_code == 200

    def test_a_submission_is_cancelled_while_it_is_queued_and_only_once(
        self, client: TestClient, orders: Connector
    ) -> None:
        later = (clock.utc_now() + timedelta(days=1)).isoformat()
        made = client.post("/submissions", json=body(orders, send_at=later), headers=JANA).json()
        assert made["send_at"] == made["next_attempt_at"]
        path = f"/submissions/{made['id']}"
        assert client.delete(path, headers=JANA).status_code == 204
        cancelled = client.get(path, headers=JANA).json()
        assert (cancelled["status"], cancelled["next_attempt_at"]) == ("cancelled", None)
        assert_problem(client.delete(path, headers=JANA), 409, "wrong_state")

    def test_one_that_has_ended_cannot_be_cancelled(
        self, client: TestClient, gateway: Gateway, orders: Connector
    ) -> None:
        made = client.post("/submissions", json=body(orders), headers=JANA).json()
        sender = Sender(gateway)
        sender.send_due()
        assert sender.wait(30)
        sender.stop()
        assert_problem(client.delete(f"/submissions/{made['id']}", headers=JANA), 409, "wrong_state")
