"""The HTML of mails, shown by a real browser as a frontend shows it: it does nothing but show itself.

The page has no Content-Security-Policy, which a frontend may or may not have: what is proved is that the HTML
needs none.
"""

import base64
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from app.mime.parse import parse_mail
from tests.browser.hostile_html import HOST, HOSTILE_HTML
from tests.browser.pages import Pages
from tests.support import stored_mail
from tests.support.callers import Callers
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tools.corpus import mail_files
from tools.servers.browser import Browser, Tab
from tools.servers.process import wait_until

READER = Callers.user("jana", groups=["orders"])
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE_OF_A_MAIL = re.compile(r"/messages/[^/]+/attachments/[0-9]+")

Page = Callable[[list[str]], str]


def written(pieces: list[str]) -> str:
    """The page of a frontend that writes its pages on the server."""
    return "".join(f"<div class=mail>{piece}</div>" for piece in pieces)


def assigned(pieces: list[str]) -> str:
    """The page of a frontend that makes its elements in the browser."""
    pieces_json = json.dumps(pieces).replace("<", "\\u003c")
    return f"""<script>for (const piece of {pieces_json}) {{
        const mail = document.body.appendChild(document.createElement("div"))
        mail.className = "mail"
        mail.innerHTML = piece
    }}</script>"""


def copied(pieces: list[str]) -> str:
    """The page of a frontend that also reads the HTML back and writes it again, as editors do (where markup
    that was harmless at first may mutate)."""
    return assigned(pieces).replace(
        "</script>", "\nmails().forEach(m => { m.innerHTML = m.innerHTML })</script>"
    )


SCRIPT = """
    const seen = []
    function ran(number) { seen.push(number) }
    const mails = () => [...document.querySelectorAll("body > .mail")]
"""
# What the reader's eyes and mouse would find out, asked of every element at once.
LOOK = """() => {
    const found = []
    for (const element of mails().flatMap(mail => [...mail.querySelectorAll("*")])) {
        const style = getComputedStyle(element)
        const names = element.getAttributeNames()
        const handler = names.find(name => name.startsWith("on"))
        if (handler) found.push(`${element.tagName} has ${handler}`)
        if (element.namespaceURI !== "http://www.w3.org/1999/xhtml") found.push(`${element.tagName} is no HTML`)
        if (style.position !== "static") found.push(`${element.tagName} is ${style.position}`)
        for (const property of ["backgroundImage", "borderImageSource", "listStyleImage", "maskImage", "filter"])
            if (style[property] !== "none") found.push(`${element.tagName} has ${property} ${style[property]}`)
        for (const pseudo of ["::before", "::after"]) {
            const content = getComputedStyle(element, pseudo).content
            if (content.includes("url")) found.push(`${element.tagName}${pseudo} has ${content}`)
        }
        if (names.includes("href")) {
            if (!["http:", "https:", "mailto:", "tel:"].includes(element.protocol)) found.push(element.outerHTML)
            if (element.target !== "_blank" || !element.relList.contains("noopener")) found.push(element.outerHTML)
        }
        if (names.includes("id") || names.includes("name")) found.push(`${element.tagName} is named`)
    }
    return found
}"""
TOUCH = """() => {
    for (const element of mails().flatMap(mail => [...mail.querySelectorAll("*")])) {
        for (const type of ["mouseover", "mouseenter", "mousemove", "mousedown", "mouseup", "pointerover", "toggle",
                "focusin", "wheel", "copy", "dragstart", "animationstart", "transitionend", "load", "error"])
            element.dispatchEvent(new Event(type, {bubbles: true}))
        if (!element.closest("a")) element.click()
        element.focus()
        element.blur()
    }
}"""


def show(tab: Tab, pages: Pages, page: str) -> str:
    """Serve the page and wait until it is at rest; its address."""
    address = pages.put("/mails", f"<!DOCTYPE html><script>{SCRIPT}</script><body>{page}")
    tab.page.goto(address)
    return address


def assert_only_shown(tab: Tab, address: str, *, mails: int, images: set[str]) -> None:
    """Nothing ran, nothing was asked for but the page and the images, nothing left its place."""
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.evaluate(LOOK) == []
    tab.page.evaluate(TOUCH)
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.evaluate("seen") == []
    assert tab.dialogs == []
    assert [error for error in tab.errors if "404 (Not Found)" not in error] == []
    assert tab.page.url == address
    assert len(tab.page.frames) == 1
    assert tab.context.pages == [tab.page]
    assert tab.page.evaluate("mails().length") == mails, "no mail breaks out of its place"
    assert {request for request in tab.requests if not request.startswith("GET data:image/")} == {
        f"GET {address}",
        *(f"GET {address.removesuffix('/mails')}{image}" for image in images),
    }


def html_mail(content: str) -> bytes:
    """A mail of that HTML with one image, `cid:chart`."""
    parts = [
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content.encode()),
        b"Content-Type: image/png\r\nContent-ID: <chart>\r\nContent-Disposition: inline\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PNG),
    ]
    header = b'Subject: HTML\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b"\r\n\r\n'
    return header + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def read(client: TestClient, gateway: Gateway, raws: list[bytes]) -> list[dict[str, Any]]:
    """Store the mails and ask for them as a caller does."""
    at = stored_mail.connector(gateway, groups=["orders"])
    return [
        client.get(f"/messages/{message_id}", headers=READER).json()
        for message_id in stored_mail.store(gateway, at, *raws)
    ]


def images_of(message: dict[str, Any]) -> set[str]:
    """The addresses of a message's attachments that its HTML shows, as the API says."""
    return {
        f"/messages/{message['id']}/attachments/{each['n']}"
        for each in message["attachments"]
        if each["inline"]
    }


def test_as_they_came_pieces_run_and_load(browser: Browser, tab: Tab, pages: Pages) -> None:
    """Each unsanitised in a frame of its own: what the tests below look for is seen where it is there."""
    before = len(browser.outside.arrivals)

    def loaded() -> set[int]:
        arrived = b" ".join(arrival.first for arrival in browser.outside.arrivals[before:])
        return {int(number) for number in re.findall(rb"GET /([0-9]+) HTTP", arrived)}

    frames = "".join(f'<iframe srcdoc="{html.escape(piece)}"></iframe>' for piece in HOSTILE_HTML)
    show(tab, pages, frames)
    tab.page.wait_for_function("new Set(seen).size > 35")
    wait_until(lambda: len(loaded()) > 35, 30, "pieces to load something")


@pytest.mark.parametrize("page", [written, assigned, copied])
def test_hostile_html_only_shows_itself(
    client: TestClient, gateway: Gateway, browser: Browser, tab: Tab, pages: Pages, page: Page
) -> None:
    before = len(browser.outside.arrivals)
    messages = read(client, gateway, [html_mail(piece) for piece in HOSTILE_HTML])
    shown = [message for message in messages if message["html"]]
    images = set().union(*(set(IMAGE_OF_A_MAIL.findall(message["html"])) for message in shown))
    assert images <= set().union(*map(images_of, shown))
    assert images, "some pieces show the image of their mail"
    address = show(tab, pages, page([message["html"] for message in shown]))
    assert_only_shown(tab, address, mails=len(shown), images=images)
    assert browser.outside.arrivals[before:] == []
    assert HOST not in "".join(tab.requests)


@pytest.mark.parametrize("page", [written, assigned, copied])
def test_the_html_of_awkward_mails_only_shows_itself(
    client: TestClient,
    gateway: Gateway,
    browser: Browser,
    tab: Tab,
    pages: Pages,
    corpus: Path,
    page: Page,
) -> None:
    before = len(browser.outside.arrivals)
    raws = [path.read_bytes() for path in mail_files(corpus)]
    shown = read(client, gateway, [raw for raw in raws if parse_mail(raw).html])
    assert shown
    images = set().union(*(set(IMAGE_OF_A_MAIL.findall(message["html"])) for message in shown))
    assert images <= set().union(*map(images_of, shown))
    address = show(tab, pages, page([message["html"] for message in shown]))
    assert_only_shown(tab, address, mails=len(shown), images=images)
    assert browser.outside.arrivals[before:] == []


def test_the_images_of_a_mail_are_shown(
    settings: SettingsFactory, gateway: Gateway, browser: Browser, pages: Pages
) -> None:
    at = stored_mail.connector(gateway, groups=["orders"])
    (message_id,) = stored_mail.store(gateway, at, html_mail("<p>see <img src='cid:chart' width=20></p>"))
    tab = browser.open_tab(extra_http_headers=READER)
    with live_gateway(settings()) as served:
        message = served.get(f"/messages/{message_id}", headers=READER).json()
        show(tab, pages, f"<base href='{served.base_url}'>{message['html']}")
        assert tab.page.evaluate("[document.images.length, document.images[0].naturalWidth]") == [1, 1]
    tab.context.close()


# The words that a person sees at this address: drawn, large enough, not clipped away, in another colour than what is
# behind them.
SEEN_WORDS = """root => {
    const view = root.ownerDocument.defaultView
    const channels = colour => colour.match(/[\\d.]+/g).map(Number)
    const behind = element => {
        for (let each = element; each; each = each.parentElement) {
            const [red, green, blue, alpha = 1] = channels(view.getComputedStyle(each).backgroundColor)
            if (alpha > 0.5) return [red, green, blue]
        }
        return [255, 255, 255]
    }
    const isClipped = element => {
        for (let each = element; each; each = each.parentElement) {
            const style = view.getComputedStyle(each)
            if (style.overflow === "hidden" && (each.clientHeight === 0 || each.clientWidth === 0)) return true
        }
        return false
    }
    const words = []
    const texts = root.ownerDocument.createTreeWalker(root, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const text = texts.currentNode, element = text.parentElement, style = view.getComputedStyle(element)
        const range = root.ownerDocument.createRange()
        range.selectNodeContents(text)
        const {width, height} = range.getBoundingClientRect()
        if (!width || !height || parseFloat(style.fontSize) < 3 || isClipped(element)) continue
        if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue
        const [red, green, blue, alpha = 1] = channels(style.color), back = behind(element)
        const distance = Math.abs(red - back[0]) + Math.abs(green - back[1]) + Math.abs(blue - back[2])
        if (alpha > 0.2 && distance > 100) words.push(...text.data.split(/\\s+/).filter(Boolean))
    }
    return words.join(" ")
}"""
PREHEADER = "<div style='display:none;font-size:1px;color:#fff;max-height:0;overflow:hidden;mso-hide:all'>Náhled</div>"
PHONE = "<style>.phone{display:none}@media only screen and (max-width:480px){.phone{display:block!important}.desk{display:none"
SEEN = (
    (PREHEADER + "<p>Vážený zákazníku", "Vážený zákazníku"),
    (f"<head>{PHONE}}}}}</style></head><body><p class=desk>Nabídka</p><p class=phone>Nabídka (mobil)", "Nabídka"),
    ("<body bgcolor=#000040 text=#ffff99><p>Pozvánka <font color=#fff>na večírek", "Pozvánka na večírek"),
    ("<style>body{background:#111;color:#eee}</style><body><p>Noční <b>zpráva", "Noční zpráva"),
    ("<table><tr><td style='background:#000 url(http://127.0.0.1:9/x.png);color:#fff'>Sleva", "Sleva"),
    ("<div style='visibility:hidden'>Skryto <b style='visibility:visible'>Vidět</b></div>", "Vidět"),
    ("<div style='opacity:0'>Skryto</div><div style='height:0;overflow:hidden'>Skryto</div>Vidět", "Vidět"),
    ("<div style='font-size:0'>Skryto<span style='font-size:14px'>Vidět</span></div>", "Vidět"),
    ("<style>.x .y{color:#fff;background-color:#036}</style><div class=x><p class=y>Tlačítko", "Tlačítko"),
    ("<style>#a{display:none}p#a.b{display:block}</style><p id=a>Skryto</p><p id=a class=b>Vidět", "Vidět"),
)  # fmt: skip


@pytest.mark.parametrize("page", [written, assigned, copied])
def test_a_person_sees_what_the_sender_showed_and_no_more(
    client: TestClient, gateway: Gateway, tab: Tab, pages: Pages, page: Page
) -> None:
    """The browser's own word: the same words are seen in the mail as it came, alone on its page."""
    messages = read(client, gateway, [html_mail(piece) for piece, _ in SEEN])
    tab.page.set_viewport_size({"width": 1000, "height": 800})
    show(tab, pages, page([message["html"] for message in messages]))
    seen = tab.page.evaluate(f"mails().map({SEEN_WORDS})")
    assert seen == [words for _, words in SEEN]
    for piece, words in SEEN:
        tab.page.set_content(piece)
        assert tab.page.evaluate(f"({SEEN_WORDS})(document.body)") == words, piece


def test_text_that_lost_the_image_behind_it_is_seen(
    client: TestClient, gateway: Gateway, tab: Tab, pages: Pages
) -> None:
    dark = "<body background=http://127.0.0.1:9/night.png text=#ffffff><p>Dobrou noc"
    (message,) = read(client, gateway, [html_mail(dark)])
    show(tab, pages, written([message["html"]]))
    assert tab.page.evaluate(f"mails().map({SEEN_WORDS})") == ["Dobrou noc"]
    tab.page.set_content(dark)
    assert tab.page.evaluate(f"({SEEN_WORDS})(document.body)") == "", "white on white without its image"


OVERFLOWING = (
    "<div style='margin-top:-500px;height:500px;width:3000px;background-color:red'>log in again</div>",
    "<div style='margin:-500px 0 0 -500px;border:500px solid red;width:500px'>x</div>",
    "<table style='margin-top:-200px' height=400 width=3000 bgcolor=red><tr><td>x</table>",
    "<img src='cid:chart' height=3000 width=3000 vspace=0 style='margin-top:-900px'>",
)


def test_an_element_that_contains_the_html_keeps_it_off_the_rest_of_the_page(
    client: TestClient, gateway: Gateway, tab: Tab, pages: Pages
) -> None:
    """As `docs/messages.md` asks of frontends: position is not to be had in a mail, negative margins are."""
    for message in read(client, gateway, [html_mail(piece) for piece in OVERFLOWING]):
        page = "<h1 style='margin:0;height:100px'>the frontend's</h1><div class=mail style='{}'>{}</div>"
        on_top = "document.elementFromPoint(200, 50).localName"
        show(tab, pages, page.format("contain: content", message["html"]))
        assert tab.page.evaluate(on_top) == "h1", message["html"]
        show(tab, pages, page.format("", message["html"]))
        assert tab.page.evaluate(on_top) != "h1", f"nothing to contain: {message['html']}"
