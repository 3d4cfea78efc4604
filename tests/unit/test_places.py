"""How many things go on at once."""

import pytest

from app.errors import Overloaded, TooManyRequests
from app.places import Places


def test_one_name_gets_its_places_and_no_more_and_others_get_theirs() -> None:
    places = Places(2)
    with places.taken("bob"), places.taken("bob"):
        with pytest.raises(TooManyRequests) as refused:
            places.take("bob")
        assert refused.value.retry_after_s > 0
        with places.taken("jana"):
            pass
    with places.taken("bob"):
        pass


def test_all_names_together_get_the_total() -> None:
    places = Places(2, total=3)
    with places.taken("bob"), places.taken("bob"), places.taken("jana"):
        with pytest.raises(Overloaded):
            places.take("eva")
        # A caller who has taken all their places gets the error for callers.
        with pytest.raises(TooManyRequests):
            places.take("bob")
    with places.taken("eva"):
        pass


def test_a_place_is_given_back_by_a_block_that_fails() -> None:
    places = Places(1)
    with pytest.raises(ZeroDivisionError), places.taken("bob"):
        raise ZeroDivisionError
    with places.taken("bob"):
        pass


def test_what_is_no_caller_is_overloaded() -> None:
    places = Places(1, is_callers=False)
    with places.taken("imap.firma.cz:993 tls"), pytest.raises(Overloaded):
        places.take("imap.firma.cz:993 tls")
