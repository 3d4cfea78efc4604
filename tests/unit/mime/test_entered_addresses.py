"""Addresses that callers enter: one address each, safe for headers and for the envelope."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.mime.compose import Draft, compose
from app.mime.entered_addresses import Mailbox, parse_mailbox, rebuilt_address
from tests.support.sandboxed_reader import parse_mail


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "address", "name"),
        [
            ("jan@example.com", "jan@example.com", None),
            ("  jan@example.com ", "jan@example.com", None),
            ("<jan@example.com>", "jan@example.com", None),
            ("Jan Novák <jan@Example.COM>", "jan@example.com", "Jan Novák"),
            ('"Novák, Jan" <jan@example.com>', "jan@example.com", "Novák, Jan"),
            ("Novák, Jan <jan@example.com>", "jan@example.com", "Novák, Jan"),
            ('"a \\"b\\" <c>" <jan@example.com>', "jan@example.com", 'a "b" <c>'),
            ("jan@example.com <jan@example.com>", "jan@example.com", "jan@example.com"),
            ("Jan.O'Neil+x@example.com", "Jan.O'Neil+x@example.com", None),
            ("jan@háčkyčárky.cz", "jan@xn--hkyrky-ptac70bc.cz", None),
            ("jan@straße.de", "jan@xn--strae-oqa.de", None),
            ("jan@localhost", "jan@localhost", None),
        ],
    )
    def test_are_taken_apart_and_rebuilt(self, text: str, address: str, name: str | None) -> None:
        assert parse_mailbox(text, "/to/0") == Mailbox(address, name)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "jan", "@example.com", "jan@", "jan@@example.com", "a b@example.com", "jan@exa mple.com"),
            *("a@b.cz, c@d.cz", "a@b.cz; c@d.cz", "a@b.cz, Jan <c@d.cz>", "Jan <a@b.cz> <c@d.cz>"),
            *("žan@example.com", "jan@-a.cz", "jan@a..cz", "jan@a.cz.", "jan@[127.0.0.1]", "jan@a_.cz>"),
            *("jan@" + "a" * 64 + ".cz", "j" * 65 + "@a.cz", '"' + "j" * 63 + '"@a.cz'),
            *("jan@a.cz>", "jan@xn--.cz\u200b", "jan@\u2100.cz", "jan@\u2488com", "jan@a\u3002b\u3002"),
            "jan@" + ".".join(["a" * 60] * 5),
        ],
    )
    def test_what_is_not_one_address_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_mailbox(text, "/to/0")
        assert [fault.pointer for fault in caught.value.faults] == ["/to/0"]

    @given(st.text(max_size=80))
    @settings(max_examples=300, deadline=None)
    def test_any_text_is_refused_or_is_safe_for_the_envelope(self, text: str) -> None:
        try:
            address = rebuilt_address(text + "@example.com", "/to/0")
        except InvalidInput:
            return
        assert re.fullmatch(r"[!-;=?-~]+@example\.com", address)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("a..b.@docomo.ne.jp", '"a..b."@docomo.ne.jp'),
        (".jan@ezweb.ne.jp", '".jan"@ezweb.ne.jp'),
        ('"a..b."@docomo.ne.jp', '"a..b."@docomo.ne.jp'),
        ('"jan novak"@firma.cz', '"jan novak"@firma.cz'),
        ("jan@firma.local", "jan@firma.local"),
        ("jan+x@FIRMA.cz", "jan+x@firma.cz"),
    ],
)
def test_who_wrote_to_us_can_be_answered(written: str, sent: str) -> None:
    """RFC 5321 §4.1.2: odd dots and spaces need quotes on the wire."""
    assert parse_mailbox(written, "/to/0").address == sent
    assert parse_mailbox(f"Jan <{written}>", "/to/0") == Mailbox(sent, "Jan")
    answer = Draft(
        sender=Mailbox("info@firma.cz"),
        message_id_header="<1@firma.cz>",
        date=datetime(2024, 5, 6, tzinfo=UTC),
        to=[Mailbox(sent, "Jan")],
        text="Hello",
    )
    read = parse_mail(compose(answer))
    assert [each.address.replace('"', "") for each in read.to] == [sent.replace('"', "")]


@pytest.mark.parametrize(
    "local", ['"a>b"', '"a<b"', '"a"b"', '"a\\"b"', '""', "a b", "a,b", "jan.novák", "a" * 65]
)
def test_a_local_part_that_could_end_the_path_is_refused(local: str) -> None:
    with pytest.raises(InvalidInput):
        parse_mailbox(f"{local}@firma.cz", "/to/0")
