"""A gateway that is told to stop answers those who wait, and does not cut them off."""

import contextlib
import threading
from pathlib import Path

import httpx

from tests.support.callers import bearer
from tests.support.listening import ADMINISTRATOR, Listener, is_used, new_key
from tests.support.served_gateway import served_gateway
from tools.servers.process import wait_until

WAIT_S = 60.0


def test_streams_and_long_polls_end_properly(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with contextlib.ExitStack() as clients:
        with served_gateway(f"sqlite:///{tmp_path / 'gateway.db'}", tmp_path) as gateway:
            own = clients.enter_context(
                httpx.Client(base_url=gateway.base_url, timeout=WAIT_S, trust_env=False)
            )
            stream = Listener(own, ADMINISTRATOR)
            key_id, key = new_key(gateway)

            def wait() -> None:
                answers.append(own.get("/events", params={"wait_s": 30}, headers=bearer(key)))

            poll = threading.Thread(target=wait)
            poll.start()
            wait_until(lambda: is_used(gateway, key_id), WAIT_S, "the poll to be let in")
        poll.join(WAIT_S)
        stream.thread.join(WAIT_S)
    assert [answer.status_code for answer in answers] == [200]
    assert stream.lines[:2] == ["retry: 2000", ": connected"]
    assert not stream.is_cut_off
