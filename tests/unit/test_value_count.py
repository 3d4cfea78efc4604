"""How many values a JSON text has, counted as it comes in pieces."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from app.request_bodies import ValueCount

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def counted(*pieces: bytes) -> int:
    count = ValueCount()
    for piece in pieces:
        count.feed(piece)
    return count.count


def expected(value: object) -> int:
    """Strings, brackets, and commas outside strings."""
    if isinstance(value, str):
        return 1
    if isinstance(value, list):
        return 1 + sum(map(expected, value)) + max(len(value) - 1, 0)
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(expected, value.values())) + max(len(value) - 1, 0)
    return 0


@given(value=VALUES, escaped=st.booleans())
def test_it_counts_strings_brackets_and_commas(value: object, escaped: bool) -> None:
    assert counted(json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")) == expected(
        value
    )


@given(
    text=st.binary() | VALUES.map(lambda value: json.dumps(value).encode()), cut=st.lists(st.integers(0, 50))
)
def test_where_a_text_is_cut_does_not_matter(text: bytes, cut: list[int]) -> None:
    places = [0, *sorted(place % (len(text) + 1) for place in cut), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert counted(*pieces) == counted(text)
