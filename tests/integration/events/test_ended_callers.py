"""A revoked key and an expired token: requests that wait end within seconds and give nothing. At the served gateway."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.callers import bearer, user_token
from tests.support.listening import ADMINISTRATOR, Listener, is_used, new_key, something_happens
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("served")
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", Path(folder)) as client:
        yield client


def revoked(gateway: httpx.Client) -> tuple[dict[str, str], Callable[[], object]]:
    key_id, key = new_key(gateway)
    headers = bearer(key)
    return headers, lambda: gateway.delete(f"/api-keys/{key_id}", headers=ADMINISTRATOR).raise_for_status()


def expired(_gateway: httpx.Client) -> tuple[dict[str, str], Callable[[], object]]:
    """The clocks may differ by 30 s: this one is good for 8 seconds more."""
    return bearer(user_token("eva", admin=True, exp=int(time.time()) - 22)), lambda: None


@pytest.mark.parametrize("ended", [revoked, expired])
def test_a_stream_ends_and_gives_nothing_more(
    gateway: httpx.Client, ended: Callable[[httpx.Client], tuple[dict[str, str], Callable[[], object]]]
) -> None:
    headers, end = ended(gateway)
    stream = Listener(gateway, headers)
    end()
    wait_until(lambda: gateway.get("/events", headers=headers).status_code == 401, 60, "the end of the right")
    given = len(stream.events())
    something_happens(gateway)
    wait_until(stream.has_ended, 60, "the end of the stream")
    assert len(stream.events()) == given


@pytest.mark.parametrize("path", ["/events", "/messages"])
def test_a_long_poll_is_answered_401(gateway: httpx.Client, path: str) -> None:
    key_id, key = new_key(gateway)
    headers = bearer(key)
    end = gateway.get("/events", headers=ADMINISTRATOR).json()["next_cursor"]
    answers: list[httpx.Response] = []
    after = {"after": end} if path == "/events" else {}
    poll = threading.Thread(
        target=lambda: answers.append(gateway.get(path, params={"wait_s": 30, **after}, headers=headers))
    )
    poll.start()
    wait_until(lambda: is_used(gateway, key_id), 60, "the poll to wait")
    gateway.delete(f"/api-keys/{key_id}", headers=ADMINISTRATOR).raise_for_status()
    poll.join()
    assert [answer.status_code for answer in answers] == [401]
