"""Bytes of strangers in a real browser: saved as a file, never run or rendered as a page of the gateway's."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.gateway import Gateway
from tests.browser.pages import Pages
from tests.support import stored_mail
from tests.support.callers import Callers
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tools.servers.browser import Browser, Tab

READER = Callers.user("jana", groups=["orders"])
SCRIPT = b"<script>alert(document.domain); top.ran()</script>"
SVG = (
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1); top.ran()'><rect width='9' height='9'/></svg>"
)
XML = b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>" + SCRIPT + b"</html>"
# The stated type and the content of each; the sender may state anything.
ACTIVE = {
    "page.html": ("text/html", SCRIPT),
    "page.xhtml": ("application/xhtml+xml", XML),
    "drawing.svg": ("image/svg+xml", SVG),
    "feed.xml": ("text/xml", XML),
    "archive.mhtml": ("multipart/x-mixed-replace", SCRIPT),
    "script.js": ("text/javascript", b"alert(1); top.ran()"),
    "style.css": ("text/css", b"*{display:none}"),
    "said.png": ("image/png", SCRIPT),
    "said.gif": ("image/gif", b"GIF89a/*" + SCRIPT),
    "said.pdf": ("application/pdf", SCRIPT),
    "untyped": ("", SCRIPT),
    "letter.eml": ("message/rfc822", b"Content-Type: text/html\r\n\r\n" + SCRIPT),
}


def with_active_files(*, shown: bool) -> bytes:
    """A mail with all the files: attached to it, or shown by its HTML as if they were images."""
    disposition = "inline" if shown else "attachment"
    parts = [
        f"Content-Type: {content_type or 'x'}; name={name}\r\n"
        f"Content-Disposition: {disposition}; filename={name}\r\n"
        + (f"Content-ID: <{name}>\r\n" if shown else "")
        + f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(content).decode()}"
        for name, (content_type, content) in ACTIVE.items()
    ]
    images = "".join(f"<img src='cid:{name}'>" for name in ACTIVE) if shown else "see there"
    parts.insert(0, f"Content-Type: text/html\r\n\r\n{images}")
    kind = "related" if shown else "mixed"
    header = f'Subject: files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary="b"\r\n\r\n'
    return (header + "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n").encode()


@pytest.fixture
def served(settings: SettingsFactory) -> Iterator[httpx.Client]:
    with live_gateway(settings()) as client:
        yield client


@pytest.fixture
def reader(browser: Browser) -> Iterator[Tab]:
    """A tab that sends the token with everything it asks for."""
    opened = browser.open_tab(extra_http_headers=READER, accept_downloads=True)
    yield opened
    opened.context.close()


def store(gateway: Gateway, raw: bytes) -> str:
    (message_id,) = stored_mail.store(gateway, stored_mail.connector(gateway, groups=["orders"]), raw)
    return message_id


def files_of(served: httpx.Client, message_id: str) -> list[tuple[str, str]]:
    """Name and address of each attachment."""
    message = served.get(f"/messages/{message_id}", headers=READER).json()
    return [
        (each["name"], f"{served.base_url}/messages/{message_id}/attachments/{each['n']}")
        for each in message["attachments"]
    ]


def assert_nothing_ran(tab: Tab) -> None:
    assert tab.dialogs == []
    assert len(tab.context.pages) == 1


def test_attachments_are_saved_byte_for_byte(served: httpx.Client, gateway: Gateway, reader: Tab) -> None:
    files = files_of(served, store(gateway, with_active_files(shown=False)))
    assert [name for name, _ in files] == list(ACTIVE)
    reader.page.set_content("".join(f"<p><a href='{address}'>{name}</a>" for name, address in files))
    for name, _ in files:
        with reader.page.expect_download() as started:
            reader.page.get_by_text(name).click()
        assert started.value.suggested_filename == name
        assert Path(started.value.path()).read_bytes() == ACTIVE[name][1]
    assert reader.page.url == "about:blank"
    assert_nothing_ran(reader)


def test_a_source_is_saved_byte_for_byte(served: httpx.Client, gateway: Gateway, reader: Tab) -> None:
    raw = b"Content-Type: text/html\r\n\r\n" + SCRIPT
    message_id = store(gateway, raw)
    reader.page.set_content(f"<a href='{served.base_url}/messages/{message_id}/source'>all of it</a>")
    with reader.page.expect_download() as started:
        reader.page.click("a")
    assert started.value.suggested_filename == f"message-{message_id}.eml"
    assert Path(started.value.path()).read_bytes() == raw
    assert_nothing_ran(reader)


def test_what_is_shown_in_place_is_an_image_or_nothing(
    served: httpx.Client, gateway: Gateway, reader: Tab
) -> None:
    """Images of the HTML may be answered as `inline`: opened as pages of their own they do not run either."""
    addresses = dict(files_of(served, store(gateway, with_active_files(shown=True))))
    for name in ("said.png", "said.gif"):
        answer = reader.page.goto(addresses[name])
        assert answer is not None
        assert answer.headers["content-disposition"].startswith("inline")
        assert reader.page.evaluate("[document.contentType, document.scripts.length]") == [
            ACTIVE[name][0],
            0,
        ]
    assert_nothing_ran(reader)


@pytest.mark.parametrize("shown", [False, True], ids=["attached", "shown"])
def test_a_page_that_embeds_attachments_runs_none(
    served: httpx.Client, gateway: Gateway, reader: Tab, pages: Pages, shown: bool
) -> None:
    ways = (
        "<img src='{}'>",
        "<iframe src='{}'></iframe>",
        "<object data='{}'></object>",
        "<embed src='{}'>",
        "<script src='{}'></script>",
        "<link rel=stylesheet href='{}'>",
    )
    addresses = [address for _, address in files_of(served, store(gateway, with_active_files(shown=shown)))]
    body = "".join(way.format(address) for address in addresses for way in ways)
    script = "<script>seen = 0; function ran() { seen++ }</script>"
    reader.page.goto(pages.put("/", f"<!DOCTYPE html>{script}<p>still shown</p>{body}"))
    asked = {request.removeprefix("GET ") for request in reader.requests}
    assert asked >= set(addresses)
    assert reader.page.evaluate("seen") == 0
    assert reader.page.locator("p").is_visible()
    assert_nothing_ran(reader)
