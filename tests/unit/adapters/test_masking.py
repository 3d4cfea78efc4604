"""Our own credentials are masked in what a server says, in whatever form; the rest of it stays."""

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.masking import MASK, NOTHING_MASKED, Mask

USER, PASSWORD = "info@firma.cz", 'Pa55 w\\"ö+/=?&<é'
mask = Mask(USER, PASSWORD)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "as it is": PASSWORD,
    "in capitals": PASSWORD.upper(),
    "quoted": PASSWORD.replace("\\", "\\\\").replace('"', '\\"'),
    "percent": quote(PASSWORD, safe=""),
    "percent in small letters": quote(PASSWORD, safe="").lower(),
    "form": quote_plus(PASSWORD),
    "html": html.escape(PASSWORD),
    "json": json.dumps(PASSWORD),
    "hex": PASSWORD.encode().hex(),
    "latin-1 read as utf-8": PASSWORD.encode("latin-1").decode("utf-8", "replace"),
    "utf-8 read as latin-1": PASSWORD.encode().decode("latin-1"),
    "base64": encoded(PASSWORD),
    "base64 without its end": encoded(PASSWORD).rstrip("="),
    "PLAIN": encoded(f"\0{USER}\0{PASSWORD}"),
    "somewhere in base64": encoded(f"abc{PASSWORD}def"),
    "its first half": PASSWORD[:9],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_password_is_masked(form: str) -> None:
    told = mask.text(f"NO what is {FORMS[form]} to me")
    assert told is not None
    assert (MASK in told, told.startswith("NO what is "), told.endswith(" to me")) == (True, True, True)
    assert FORMS[form].casefold() not in told.casefold()
    assert "Pa55" not in told


def test_a_password_that_is_cut_off_at_the_end_is_masked() -> None:
    assert mask.text("BAD LOGIN Pa55 ...") == f"BAD LOGIN {MASK}"
    assert Mask(USER, "x" * 400).text("BAD " + "x" * 100) == f"BAD {MASK}"
    assert Mask("u", "k" * 2000).text("NO " + "k" * 1990 + " " + "k" * 1990) == f"NO {MASK} {MASK}"


def test_a_user_name_is_masked_where_it_stands_by_itself() -> None:
    assert mask.text(f"NO user {USER} is unknown") == f"NO user {MASK} is unknown"
    assert Mask("info", "secret").text("NO more information for INFO.") == f"NO more information for {MASK}."


def test_a_password_too_short_to_look_for_hides_the_whole_text() -> None:
    told = Mask("info", "a").text("NO Password a is wrong")
    assert told is not None
    assert "Password" not in told.partition("(")[0]


def test_other_words_stay_in_one_line_and_are_trimmed() -> None:
    assert mask.text("NO [ALERT] Please\r\n  log in\x00 at https://firma.cz/?a=b") is not None
    assert mask.text("NO a\r\nb\tc \x1b[31m") is not None
    told = mask.text("x" * 10_000)
    assert told is not None
    assert len(told) == 500
    assert (mask.text(None), mask.text(""), mask.text(" \r\n")) == (None, None, None)
    assert NOTHING_MASKED.text("NO bad") == "NO bad"


def test_a_response_code_is_masked_where_it_is_none_that_is_registered() -> None:
    assert (mask.code("NOPERM"), mask.code(None), mask.code("X-OWN")) == ("NOPERM", None, "X-OWN")
    assert Mask("u", "hunter2").code("HUNTER2") == MASK
    assert Mask("u", "limit").code("LIMIT") == "LIMIT"


@given(st.text(min_size=6, max_size=40), st.text(max_size=60), st.text(max_size=60))
def test_whatever_the_password_it_is_not_in_the_text_any_more(password: str, before: str, after: str) -> None:
    told = Mask("someone@firma.cz", password).text(f"{before}{password}{after}")
    assert password == MASK or told is None or password not in told


@pytest.mark.slow
def test_masking_takes_linear_time() -> None:
    """In the length of the text before it is cut, and of the password: what is long is repeated nowhere in full."""

    def cost(length: int) -> float:
        made = Mask("u" * 100, "p" * 100)
        text = "p" * 5 + "A" * length + "=" * length

        def once() -> float:
            began = time.thread_time()
            for _ in range(20):
                made.text(text)
            return time.thread_time() - began

        return min(once() for _ in range(3))

    assert cost(400_000) < 20 * cost(40_000) + 0.05


def test_a_password_that_no_server_can_be_told_does_no_harm() -> None:
    assert Mask("jana\udfff", "\ud800heslo").text("no such user") == "no such user"
