"""The gate that all text passes."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mime.text import clean_date, clean_line, clean_text

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


def test_nul_and_lone_surrogates_become_the_replacement_character() -> None:
    assert clean_text("a\x00b\ud800c\udcffd", 100) == "a\ufffdb\ufffdc\ufffdd"


def test_other_controls_disappear_from_text_but_tab_and_line_end_stay() -> None:
    assert clean_text("a\x01\x1b[31mb\tc\nd\x7f\x9b2J", 100) == "a[31mb\tc\nd2J"


def test_line_ends_become_lf() -> None:
    assert clean_text("a\r\nb\rc\n", 100) == "a\nb\nc\n"


def test_a_line_has_no_line_break_of_any_kind() -> None:
    assert clean_line(" a\r\n b\tc\u2028d\x0be\x85f ", 100) == "a b c d e f"


def test_text_is_cut_at_its_limit() -> None:
    assert clean_text("č" * 10, 4) == "čččč"
    assert clean_line("č" * 10, 4) == "čččč"


@given(ANY_TEXT)
def test_what_passed_the_gate_is_utf8_without_controls(value: str) -> None:
    for cleaned in (clean_text(value, 1000), clean_line(value, 1000)):
        cleaned.encode("utf-8")
        assert "\x00" not in cleaned
        assert not any(ord(char) < 32 and char not in "\t\n" for char in cleaned)
    assert "\n" not in clean_line(value, 1000)
    assert clean_text(clean_text(value, 1000), 1000) == clean_text(value, 1000)


@pytest.mark.parametrize(
    ("given_date", "expected"),
    [
        (None, None),
        (datetime(2024, 1, 1), None),  # noqa: DTZ001 - a naive date is the case
        (datetime(1969, 12, 31, 23, 59, tzinfo=UTC), None),
        (datetime(2100, 1, 1, tzinfo=UTC), None),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))), None),
        (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
        (datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 6, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_date_is_aware_utc_between_1970_and_2100_or_nothing(
    given_date: datetime | None, expected: datetime | None
) -> None:
    assert clean_date(given_date) == expected
