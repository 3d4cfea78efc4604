"""Stored secrets: bound to their row, readable with any configured key, and with nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.adapters.secretbox import SecretBox, credential_place, is_bound, webhook_place
from app.errors import SecretUnreadable

OLD = SecretStr("the old key, of thirty-two characters or more")
NEW = SecretStr("the new key, of thirty-two characters or more")
HERE = credential_place("connector-1")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_encrypted_secret_can_be_decrypted(secret: str) -> None:
    box = SecretBox([NEW])
    assert box.decrypt(box.encrypt(secret, place=HERE), place=HERE) == secret


@given(st.text(max_size=200))
def test_a_text_that_was_never_encrypted_is_unreadable_and_raises_nothing_else(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox([NEW]).decrypt(text, place=HERE)


def test_a_ciphertext_copied_to_another_row_does_not_open() -> None:
    box = SecretBox([NEW])
    ciphertext = box.encrypt("password", place=HERE)
    for elsewhere in (credential_place("connector-2"), webhook_place("connector-1"), ""):
        with pytest.raises(SecretUnreadable):
            box.decrypt(ciphertext, place=elsewhere)


def test_every_changed_character_is_noticed() -> None:
    box = SecretBox([NEW])
    ciphertext = box.encrypt("password", place=HERE)
    blob_start = len(box.current_start(is_bound=False))
    for index in range(blob_start, len(ciphertext) - 2):  # the last ones may hold padding bits alone
        other = "A" if ciphertext[index] != "A" else "B"
        with pytest.raises(SecretUnreadable):
            box.decrypt(ciphertext[:index] + other + ciphertext[index + 1 :], place=HERE)


@pytest.mark.parametrize("cut", [0, 1, 5, 12, 20, 30])
def test_a_cut_ciphertext_is_unreadable(cut: int) -> None:
    box = SecretBox([NEW])
    with pytest.raises(SecretUnreadable):
        box.decrypt(
            box.encrypt("password", place=HERE)[: len(box.current_start(is_bound=False)) + cut], place=HERE
        )


def test_a_retired_key_still_decrypts_and_the_first_one_encrypts() -> None:
    ciphertext = SecretBox([OLD]).encrypt("password", place=HERE)
    both = SecretBox([NEW, OLD])
    assert both.decrypt(ciphertext, place=HERE) == "password"
    current = both.current_start(is_bound=False)
    assert not ciphertext.startswith(current)
    assert both.encrypt("password", place=HERE).startswith(current)


def test_without_the_key_the_secret_is_unreadable() -> None:
    ciphertext = SecretBox([OLD]).encrypt("password", place=HERE)
    with pytest.raises(SecretUnreadable):
        SecretBox([NEW]).decrypt(ciphertext, place=HERE)


def test_without_any_key_nothing_is_encrypted() -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox([]).encrypt("password", place=HERE)


def test_the_same_secret_never_looks_the_same() -> None:
    box = SecretBox([NEW])
    assert len({box.encrypt("password", place=HERE) for _ in range(50)}) == 50


def test_neither_secret_nor_key_shows_in_what_is_stored() -> None:
    ciphertext = SecretBox([NEW]).encrypt("password", place=HERE)
    assert "password" not in ciphertext
    assert NEW.get_secret_value() not in ciphertext


def test_a_bound_secret_opens_for_its_use_alone() -> None:
    box = SecretBox([NEW])
    bound = box.encrypt("password", place=HERE, use="one server")
    assert is_bound(bound)
    assert box.decrypt(bound, place=HERE, use="one server") == "password"
    for use in ("another server", "", None):
        with pytest.raises(SecretUnreadable):
            box.decrypt(bound, place=HERE, use=use)
    with pytest.raises(SecretUnreadable):
        box.decrypt(bound, place=credential_place("connector-2"), use="one server")


def test_neither_form_passes_for_the_other() -> None:
    box = SecretBox([NEW])
    unbound, bound = box.encrypt("password", place=HERE), box.encrypt("password", place=HERE, use="")
    for ciphertext, use in ((unbound, ""), (bound, None)):
        renamed = ("v1" if ciphertext == bound else "v2") + ciphertext[2:]
        for text in (ciphertext, renamed):
            with pytest.raises(SecretUnreadable):
                box.decrypt(text, place=HERE, use=use)
