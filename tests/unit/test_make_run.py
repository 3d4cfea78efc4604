"""`make run` finds a port."""

import socket

import pytest

from tools import run


def test_the_usual_port_is_used_if_it_is_free_and_otherwise_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other_program:
        usual = other_program.getsockname()[1]
        monkeypatch.setattr(run, "PORT", usual)
        assert run.free_port() not in {usual, 0}
    assert run.free_port() == usual
