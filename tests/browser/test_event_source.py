"""The page of examples/events.html, in a real browser at another origin, hears what happens while the gateway is started again."""

from pathlib import Path

import httpx

from tests.browser.pages import Pages
from tests.support.callers import user_token
from tests.support.listening import ADMINISTRATOR, something_happens
from tests.support.served_gateway import served_at
from tests.support.settings import ROOT
from tools.servers.browser import Tab
from tools.servers.process import free_port

WAIT_MS = 60_000


def wait_for_shown(tab: Tab, count: int) -> list[str]:
    """The ids of the events that the page shows, once there are so many."""
    shown = "[...document.querySelectorAll('li')].map(item => item.id)"
    tab.page.wait_for_function(f"count => {shown}.length >= count", arg=count, timeout=WAIT_MS)
    found: list[str] = tab.page.evaluate(shown)
    return found


def streams_asked_for(tab: Tab) -> list[str]:
    return [each for each in tab.requests if "/events/stream?" in each]


def all_events(gateway: httpx.Client) -> list[str]:
    return [event["id"] for event in gateway.get("/events", headers=ADMINISTRATOR).json()["data"]]


def test_the_page_misses_nothing_and_shows_nothing_twice_over_a_restart(
    tab: Tab, pages: Pages, database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {"CORS_ORIGINS": pages.origin}
    token = user_token("administrator", admin=True)
    with served_at(port, database_url, tmp_path, **settings) as gateway:
        something_happens(gateway)  # before the page: it begins at the end
        before = len(all_events(gateway))
        page = pages.put("/", (ROOT / "examples" / "events.html").read_text())
        tab.page.goto(f"{page}#gateway={address}&token={token}")
        tab.page.wait_for_function("last !== 'latest'", timeout=WAIT_MS)
        something_happens(gateway)
        wait_for_shown(tab, 1)
    with served_at(port, database_url, tmp_path, **settings) as gateway:
        something_happens(gateway)  # perhaps before the browser is back
        wait_for_shown(tab, 2)
        something_happens(gateway)
        shown = wait_for_shown(tab, 3)
        assert shown == all_events(gateway)[before:]
    asked = streams_asked_for(tab)
    assert len(asked) > 1, "the browser has connected again"
    assert len(set(asked)) == 1, "with the same ticket"
