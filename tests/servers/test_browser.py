"""The browser that other tests rely on runs what pages hold, and everything it does is seen."""

from tools.servers.browser import Browser, Tab
from tools.servers.http_receiver import Answer, HttpReceiver
from tools.servers.process import wait_until


def serve(receiver: HttpReceiver, html: str, path: str = "/") -> str:
    """The address at which the receiver shows the page."""
    receiver.answer_with(Answer(200, html.encode(), (("Content-Type", "text/html; charset=utf-8"),)))
    return receiver.url + path


def test_text_is_rendered_with_a_font(tab: Tab) -> None:
    tab.page.set_content("<span id=narrow>iiiiiiii</span> <span id=wide>Šířka</span>")
    narrow, wide = (tab.page.locator(name).bounding_box() for name in ("#narrow", "#wide"))
    assert narrow is not None
    assert wide is not None
    assert 0 < narrow["width"] < wide["width"]


def test_requests_are_kept(tab: Tab, http_receiver: HttpReceiver) -> None:
    tab.page.goto(serve(http_receiver, "<img src=/pixel><script>fetch('/api', {method: 'POST'})</script>"))
    tab.page.wait_for_load_state("networkidle")
    url = http_receiver.url
    assert set(tab.requests) >= {f"GET {url}/", f"GET {url}/pixel", f"POST {url}/api"}


def test_errors_and_dialogs_are_kept(tab: Tab, http_receiver: HttpReceiver) -> None:
    page = "<script>alert('seen'); console.error('said'); undefined_function()</script>"
    tab.page.goto(serve(http_receiver, page))
    assert tab.dialogs == ["alert: seen"]
    assert [error for error in tab.errors if error == "said"]
    assert [error for error in tab.errors if "undefined_function is not defined" in error]


def test_what_a_popup_asks_for_is_kept(tab: Tab, http_receiver: HttpReceiver) -> None:
    address = serve(http_receiver, "<a href=/popup target=_blank>open</a>")
    tab.page.goto(address)
    with tab.context.expect_page() as opened:
        tab.page.click("a")
    opened.value.wait_for_load_state()
    assert f"GET {http_receiver.url}/popup" in tab.requests


def test_no_other_host_is_reached_and_who_tries_is_seen(
    browser: Browser, tab: Tab, http_receiver: HttpReceiver
) -> None:
    seen = len(browser.outside.arrivals)
    page = """<link rel=preconnect href=http://preconnected.example>
        <img src=http://named.example/a><img src=http://192.0.2.7/b><img src=https://secret.example/c>"""
    tab.page.goto(serve(http_receiver, page))

    def arrivals() -> list[bytes]:
        return sorted(arrival.first for arrival in browser.outside.arrivals[seen:])

    wait_until(lambda: len(arrivals()) >= 4 and all(arrivals()[1:]), 10, "three requests and a silent one")
    assert any(b"GET /a HTTP/1.1\r\nHost: named.example\r\n" in arrival for arrival in arrivals())
    assert any(b"GET /b HTTP/1.1\r\nHost: 192.0.2.7\r\n" in arrival for arrival in arrivals())
    assert any(b"secret.example" in arrival for arrival in arrivals()), "TLS names its host in the clear"


def test_every_tab_is_a_fresh_profile(browser: Browser, tab: Tab, http_receiver: HttpReceiver) -> None:
    address = serve(http_receiver, "")
    tab.page.goto(address)
    tab.page.evaluate("document.cookie = 'a=b'; localStorage.setItem('c', 'd')")
    other = browser.open_tab(locale="cs-CZ")
    other.page.goto(address)
    assert other.page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    assert http_receiver.requests[-1].headers["accept-language"].startswith("cs-CZ")
    other.context.close()
