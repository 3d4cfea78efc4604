"""What an answer takes from the mail that it answers."""

import pytest

from app.mime.answering import Parent, Thread, reply_subject, thread_of
from tests.support.sandboxed_reader import parse_mail


def answered(*fields: str) -> Thread:
    """The thread of an answer to a mail with these fields, as the gateway reads it."""
    source = "\r\n".join([*fields, "From: jana@example.com", "", "<text@x>"]).encode()
    mail = parse_mail(source)
    return thread_of(Parent(mail.message_id_header, mail.in_reply_to, mail.references), source)


class TestSubject:
    @pytest.mark.parametrize(
        "subject",
        [
            *(
                "Re: x",
                "RE : Devis",
                "Re\u00a0: Devis",
                "RE\u202f: x",
                "Odp: x",
                "Odp.: x",
                "AW: x",
                "SV: x",
                "VS: x",
            ),
            *(
                "Antwort: x",
                "Antw: x",
                "Vá: x",
                "VÁ: x",
                "R: x",
                "YNT: x",
                "Ynt: x",
                "Re^2: x",
                "Re[3]: x",
                "Re(2): x",
            ),
            *(
                "回复：报价",
                "回复: x",
                "答复：x",
                "Re：x",
                "Rif: x",
                "RES: x",
                "Отв: x",
                "Ответ: x",
                "ΑΠ: x",
                "Re2: x",
                "Re*2: x",
            ),
        ],
    )
    def test_an_answer_to_an_answer_gets_no_second_prefix(self, subject: str) -> None:
        assert reply_subject(subject) == subject

    @pytest.mark.parametrize(
        "subject",
        [
            "Reklamace: x",
            "Rechnung 1: x",
            "Regarding: x",
            "Rx: y",
            "Fwd: Re: x",
            "Re x",
            "Svatba: x",
            "[Re: x]",
            "R2D2",
        ],
    )
    def test_a_word_that_only_begins_so_is_no_prefix(self, subject: str) -> None:
        assert reply_subject(subject) == f"Re: {subject}"


class TestThread:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            (["Message-ID: <b@x>"], Thread("<b@x>", ("<b@x>",))),
            (["Message-ID: <b@x>", "In-Reply-To: <a@x>"], Thread("<b@x>", ("<a@x>", "<b@x>"))),
            (
                ["Message-ID: <c@x>", "In-Reply-To: <other@x>", "References: <a@x> <b@x>"],
                Thread("<c@x>", ("<a@x>", "<b@x>", "<c@x>")),
            ),
            (["References: <a@x>"], Thread(None, ("<a@x>",))),
            ([], Thread()),
            (["Message-ID: <2026 1@x.cz>"], Thread("<2026 1@x.cz>", ("<2026 1@x.cz>",))),
            (
                ["Message-ID: <b c@x>", "In-Reply-To: <a  1@x>"],
                Thread("<b c@x>", ("<a  1@x>", "<b c@x>")),
            ),
            (["Message-ID: <á@x>", "In-Reply-To: <a@x>"], Thread(None, ("<a@x>",))),
            (["Message-ID:\r\n <folded\r\n @x>"], Thread("<folded @x>", ("<folded @x>",))),
            ([f"Message-ID: <{'a' * 400}@x>"], Thread(f"<{'a' * 400}@x>", (f"<{'a' * 400}@x>",))),
        ],
    )
    def test_the_answer_names_what_the_mail_names_and_the_mail(
        self, fields: list[str], expected: Thread
    ) -> None:
        assert answered(*fields) == expected

    def test_an_id_in_the_text_is_not_taken(self) -> None:
        assert answered("Message-ID: text@x") == Thread("<text@x>", ("<text@x>",))
