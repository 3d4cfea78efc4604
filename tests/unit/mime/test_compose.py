"""Composed mails: nothing in a header that was not meant, and everything that was."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.mime.compose import Draft, OutgoingAttachment, compose
from app.mime.entered_addresses import Mailbox, parse_mailbox
from app.mime.file_names import without_marks
from app.mime.written_headers import usable_msg_id
from tests.support.sandboxed_reader import parse_mail

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SENDER = Mailbox("info@firma.cz", "Firma")
TO = Mailbox("jan@example.com")


def draft(**fields: Any) -> Draft:
    values: dict[str, Any] = {
        "sender": SENDER,
        "to": [TO],
        "message_id_header": "<1@firma.cz>",
        "date": NOW,
        "text": "Hello",
        **fields,
    }
    return Draft(**values)


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def attached(name: str, content: bytes = b"x", content_type: str = "application/pdf") -> Draft:
    return draft(attachments=[OutgoingAttachment(name, content_type, content)])


def faults(call: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        call()
    return [fault.pointer for fault in caught.value.faults]


INJECTIONS = [
    "a\r\nBcc: evil@example.com",
    "a\nBcc: evil@example.com",
    "a\rBcc: evil@example.com",
    "a\x0bb",
    "a\x0cb",
    "a\x1cb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "a\x00b",
    "a\tb",
    "a\x7fb",
    "\ud800",
    "=?UTF-8?Q?=0A?=Bcc: evil@example.com",
    "=?UTF-8?Q?=0a?=Bcc: evil@example.com",
    "=?UTF-8?Q?=0D=0A?= Bcc: evil@example.com",
    "=?utf-8?b?Cg==?=Bcc: evil@example.com",
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5jb20=?=",
    "=?utf-8?b?Cg?=",
    "=?utf-8?B?DQo!?=",
    "=?utf-8*cs?Q?=0A?=",
    "=?utf-7?Q?+AAo-?=",
    "=?utf-16?b?CgA=?=",
    "=?no-such-charset?Q?=0A?=",
    "=??Q?=0A?=",
    "x=?UTF-8?Q?a=0Ab?=y",
    "=?UTF-8?Q?=E2=80=A8?=",
    "=?UTF-8?Q?=3D=3FUTF-8=3FQ=3F=3D0A=3F=3D?=",
    "=?utf-8?Q?=00?=",
]


class TestInjection:
    @pytest.mark.parametrize("value", INJECTIONS)
    def test_a_subject_with_a_control_character_is_refused(self, value: str) -> None:
        assert faults(lambda: compose(draft(subject=value))) == ["/subject"]

    @pytest.mark.parametrize("value", INJECTIONS)
    def test_a_display_name_with_a_control_character_is_refused(self, value: str) -> None:
        assert faults(lambda: parse_mailbox(f"{value} <jan@example.com>", "/to/0")) == ["/to/0"]
        assert faults(lambda: compose(draft(cc=[Mailbox("a@b.cz", value)]))) == ["/cc/0"]

    @pytest.mark.parametrize("value", INJECTIONS)
    def test_an_address_with_a_control_character_is_refused(self, value: str) -> None:
        assert faults(lambda: parse_mailbox(f"{value}@example.com", "/bcc/3")) == ["/bcc/3"]
        assert faults(lambda: parse_mailbox(f"jan@{value}", "/bcc/3")) == ["/bcc/3"]

    @pytest.mark.parametrize("value", INJECTIONS)
    def test_a_file_name_with_a_control_character_is_refused(self, value: str) -> None:
        assert faults(lambda: compose(attached(value))) == ["/attachments/0/name"]

    @pytest.mark.parametrize(
        "value",
        ["text/plain\r\nX: y", "text", "text/plain; charset=x", "a b/c", "multipart/mixed", "Message/rfc822"],
    )
    def test_a_content_type_is_two_tokens_and_no_container(self, value: str) -> None:
        assert faults(lambda: compose(attached("a", content_type=value))) == ["/attachments/0/content_type"]

    @pytest.mark.parametrize(
        "value", ["<a\r\nBcc: x@y>", "< a>", "<a >", "a@b", "<á@b>", "", "<>", "<a><b>", "<a\n>", "<a\tb>"]
    )
    def test_a_message_id_from_outside_is_used_only_where_it_is_one(self, value: str) -> None:
        assert usable_msg_id(value) is None
        for field in ({"references": [value]}, {"in_reply_to": value}, {"message_id_header": value}):
            with pytest.raises(ValueError):
                compose(draft(**field))

    @given(
        st.text(max_size=300),
        st.text(max_size=120),
        st.text(max_size=120),
    )
    @settings(max_examples=400, deadline=None)
    def test_any_text_is_refused_or_read_back_as_it_was(
        self, subject: str, name: str, file_name: str
    ) -> None:
        content = OutgoingAttachment(file_name, "application/pdf", b"x")
        try:
            raw = compose(draft(subject=subject, to=[Mailbox("a@b.cz", name), TO], attachments=[content]))
        except InvalidInput:
            return
        assert_as_meant(raw, subject, name, file_name)

    @given(
        st.lists(
            st.sampled_from([*INJECTIONS, " ", "é", '"', "\\", ",", "=?", "?=", "<", "a" * 70]), max_size=8
        )
    )
    @settings(max_examples=400, deadline=None)
    def test_pieces_of_attacks_are_refused_or_read_back_as_they_were(self, pieces: Sequence[str]) -> None:
        value = "".join(pieces)
        try:
            raw = compose(
                draft(
                    subject=value,
                    to=[Mailbox("a@b.cz", value), TO],
                    attachments=[OutgoingAttachment(value, "application/pdf", b"x")],
                )
            )
        except InvalidInput:
            return
        assert_as_meant(raw, value, value, value)

    @given(
        st.lists(
            st.lists(
                st.sampled_from([*INJECTIONS, "<", ">", "@", "a", " ", "<a@b.cz>", "é", "x" * 300, "\r\n "]),
                max_size=6,
            ).map("".join),
            max_size=30,
        )
    )
    @settings(max_examples=300, deadline=None)
    def test_what_messages_of_strangers_call_themselves_stays_in_its_header(self, stated: list[str]) -> None:
        usable = [each for each in map(usable_msg_id, stated) if each is not None]
        in_reply_to = usable[0] if usable else None
        message = read(compose(draft(subject="x", in_reply_to=in_reply_to, references=usable)))
        expected = [
            *("Content-Transfer-Encoding", "Content-Type", "Date", "From"),
            *(["In-Reply-To"] if usable else []),
            *("MIME-Version", "Message-ID"),
            *(["References"] if usable else []),
            *("Subject", "To"),
        ]
        assert sorted(message.keys()) == expected
        assert str(message["In-Reply-To"] or "").strip() == (in_reply_to or "")
        assert set(re.findall(r"<[^<>]+>", str(message["References"] or ""))) <= set(usable)


def assert_as_meant(raw: bytes, subject: str, name: str, file_name: str) -> None:
    assert raw.isascii()
    lines = raw.split(b"\r\n")
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)
    message = read(raw)
    expected = ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"]
    if not subject.strip():
        expected.remove("Subject")
    assert list(message.keys()) == expected
    parsed = parse_mail(raw)
    assert [address.address for address in parsed.to] == ["a@b.cz", "jan@example.com"]
    assert str(message["Subject"] or "") == subject.strip()
    # Not by `email`, which up to 3.13 puts a space between the encoded words of a display name.
    # Quotes around the whole name are left out by our reader: many mailers encode them with the name.
    assert (parsed.to[0].name or "").strip('" ').split() == name.strip('" ').split()
    assert [address.addr_spec for address in message["To"].addresses] == ["a@b.cz", "jan@example.com"]
    assert file_name_in(raw) == file_name


def file_name_in(raw: bytes) -> str:
    """By RFC 2231; `email` strips spaces, quotes and angle brackets from what it has decoded."""
    [disposition] = re.findall(rb"Content-Disposition: attachment;\r\n( .*?)\r\n(?! )", raw, re.DOTALL)
    parameters = re.findall(r"filename(\*\d+)?(\*)?=(\"[^\"]*\"|[^;\r]+)", disposition.decode())
    if len(parameters) == 1 and not parameters[0][1]:
        assert f"name={parameters[0][2]}\r\n".encode() in raw  # in Content-Type too
        return str(parameters[0][2][1:-1])
    assert [number for number, _, _ in parameters] in (
        [""],
        [f"*{number}" for number in range(len(parameters))],
    )
    return unquote("".join(value for _, _, value in parameters).removeprefix("utf-8''"))


class TestFileNames:
    def test_an_ascii_name_stays_whole_however_long(self) -> None:
        name = "Faktura_2026-000123_" * 12 + ".pdf"
        raw = compose(attached(name))
        assert f'filename="{name}"'.encode() in raw
        assert f'name="{name}"'.encode() in raw
        assert max(map(len, raw.split(b"\r\n"))) < 998

    @pytest.mark.parametrize("name", ["Příloha č. 1.pdf", 'a "b".pdf', "a\\b.pdf", "=?x?=.pdf", "á" * 120])
    def test_another_name_is_also_where_older_programs_look(self, name: str) -> None:
        raw = compose(attached(name))
        assert file_name_in(raw) == name
        older = re.sub(rb"filename\*[^\r]*(\r\n [^\r]*)*", b"x=y", raw)
        [attachment] = parse_mail(older).attachments
        assert attachment.name == parse_mail(raw).attachments[0].name

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("\u200efaktura\u202cfdp.exe", "fakturafdp.exe"),
            ("\ufeffa\u200bb\u00adc.pdf", "abc.pdf"),
            ("a\u200db.pdf", "ab.pdf"),
            ("👩\u200d💻.png", "👩\u200d💻.png"),
            ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
            ("\u200f\u200e ", "attachment"),
        ],
    )
    def test_invisible_marks_are_left_out(self, name: str, expected: str) -> None:
        assert without_marks(name) == expected


class TestShownImages:
    LOGO = OutgoingAttachment("logo.png", "image/png", b"png", "logo@x")
    PRICES = OutgoingAttachment("ceník.pdf", "application/pdf", b"pdf")

    @pytest.mark.parametrize(
        ("text", "attachments", "types"),
        [
            (None, [LOGO], ["multipart/related", "text/html", "image/png"]),
            (
                "a",
                [PRICES, LOGO],
                [
                    *("multipart/mixed", "multipart/alternative", "text/plain", "multipart/related"),
                    *("text/html", "image/png", "application/pdf"),
                ],
            ),
        ],
    )
    def test_are_related_to_the_html_that_shows_them(
        self, text: str | None, attachments: list[OutgoingAttachment], types: list[str]
    ) -> None:
        raw = compose(draft(text=text, html='<p>x<img src="cid:logo@x">', attachments=attachments))
        message = read(raw)
        assert [part.get_content_type() for part in message.walk()] == types
        [image] = [part for part in message.walk() if part.get_content_type() == "image/png"]
        assert (image["Content-ID"], image.get_content_disposition()) == ("<logo@x>", "inline")
        assert image.get_payload(decode=True) == b"png"
        read_again = parse_mail(raw)
        assert [each.name for each in read_again.attachments if each.inline] == ["logo.png"]
        assert read_again.defects == ()

    @pytest.mark.parametrize(
        ("content_ids", "html", "at"),
        [
            (["logo"], None, 0),
            (["a", "a"], "<p>", 1),
            (["a b"], "<p>", 0),
            (["a\r\nBcc: x"], "<p>", 0),
            (["á"], "<p>", 0),
            (["a>"], "<p>", 0),
        ],
    )
    def test_a_content_id_that_names_nothing_is_refused(
        self, content_ids: list[str], html: str | None, at: int
    ) -> None:
        images = [OutgoingAttachment("a.png", "image/png", b"x", each) for each in content_ids]
        assert faults(lambda: compose(draft(html=html, attachments=images))) == [
            f"/attachments/{at}/content_id"
        ]


class TestContent:
    def test_czech_comes_through_whole(self) -> None:
        subject = "Příliš žluťoučký kůň úpěl ďábelské ódy " * 4
        name = "Žofie Nováková-Šťastná, účetní oddělení společnosti s velmi dlouhým názvem"
        file_name = "Nabídka č. 12 – ceník pro „věrné“ zákazníky a další dlouhý text.pdf"
        raw = compose(
            draft(
                subject=subject,
                to=[Mailbox("zofie@example.com", name)],
                sender=Mailbox("info@firma.cz", "Firma, s. r. o."),
                text="Dobrý den,\nčekám.\n.\nFrom nikdy\n",
                html="<p>Dobrý den</p>",
                attachments=[OutgoingAttachment(file_name, "application/pdf", b"\x00\xff" * 500)],
            )
        )
        message = read(raw)
        parsed = parse_mail(raw)
        assert parsed.subject == str(message["Subject"]) == subject.strip()
        assert parsed.to[0].name == name
        assert parsed.from_ is not None
        assert parsed.from_.name == "Firma, s. r. o."
        assert parsed.attachments[0].name == file_name
        assert parsed.defects == ()
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        assert text is not None
        assert html is not None
        assert text.get_content().replace("\r\n", "\n") == "Dobrý den,\nčekám.\n.\nFrom nikdy\n"
        assert html.get_content().strip() == "<p>Dobrý den</p>"
        [part] = message.iter_attachments()
        assert part.get_content() == b"\x00\xff" * 500

    @pytest.mark.parametrize(
        ("fields", "types"),
        [
            ({"text": "a"}, ["text/plain"]),
            ({"text": None, "html": "<p>a"}, ["text/html"]),
            ({"text": "a", "html": "b"}, ["multipart/alternative", "text/plain", "text/html"]),
            ({"text": ""}, ["text/plain"]),
        ],
    )
    def test_the_structure_is_the_simplest_that_holds_it(
        self, fields: dict[str, Any], types: list[str]
    ) -> None:
        assert [part.get_content_type() for part in read(compose(draft(**fields))).walk()] == types

    def test_an_attachment_alone_is_enough(self) -> None:
        raw = compose(draft(text=None, attachments=[OutgoingAttachment("a.txt", "text/plain", b"\xe9\r\n")]))
        [part] = read(raw).iter_attachments()
        assert part.get_payload(decode=True) == b"\xe9\r\n"

    def test_a_mail_without_any_content_is_refused(self) -> None:
        assert faults(lambda: compose(draft(text=None))) == ["/text"]

    @pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
    def test_text_that_no_mail_can_hold_is_refused(self, text: str) -> None:
        assert faults(lambda: compose(draft(text=text))) == ["/text"]
        assert faults(lambda: compose(draft(html=text))) == ["/html"]

    @given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=400))
    @settings(max_examples=300, deadline=None)
    def test_any_text_comes_through_but_for_the_kind_of_its_line_ends(self, text: str) -> None:
        raw = compose(draft(text=text))
        assert raw.isascii()
        assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
        got = read(raw).get_payload(decode=True)
        assert isinstance(got, bytes)
        assert re.sub("\r\n?", "\n", got.decode()).rstrip("\n") == re.sub("\r\n?", "\n", text).rstrip("\n")

    def test_an_answer_names_what_it_answers(self) -> None:
        references = [f"<{n}@example.com>" for n in range(40)]
        message = read(compose(draft(in_reply_to="<39@example.com>", references=references)))
        assert message["In-Reply-To"] == "<39@example.com>"
        assert str(message["References"]).split() == references[:1] + references[-19:]

    @pytest.mark.parametrize("inside", ["2026 1@x.cz", "a" * 994, "a" * 980, 'a(b)[c]"d,e', "2026  1 @ x"])
    def test_an_odd_id_is_named_octet_by_octet(self, inside: str) -> None:
        header = f"<{inside}>"
        raw = compose(draft(in_reply_to=header, references=["<0@x>", header]))
        assert raw.count(header.encode()) == 2
        assert max(map(len, raw.split(b"\r\n"))) <= 998

    def test_the_date_and_the_message_id_are_the_given_ones(self) -> None:
        message = read(compose(draft()))
        assert message["Date"].datetime == NOW
        assert message["Message-ID"] == "<1@firma.cz>"
