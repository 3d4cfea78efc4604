"""The page by which an owner enters the password, as its owner sees it: in a real browser, from the served gateway,
against a real mail server. Without script, so that nothing of it needs any."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from app.web_pages.texts import CZECH, ENGLISH, Texts
from tests.support.links import OWNER, body_for, link, mailbox_with, prepared
from tests.support.live_gateway import live_gateway
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import mail
from tools.servers.browser import Browser, Tab
from tools.servers.dovecot import Dovecot
from tools.servers.process import wait_until

WAIT_S = 20.0


@pytest.fixture
def served(settings: SettingsFactory) -> Iterator[httpx.Client]:
    """The gateway with its jobs: what is connected is fetched by itself."""
    with live_gateway(settings(run_jobs=True, poll_interval_s=1)) as client:
        yield client


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    return mailbox_with(dovecot, 2)


def loaded_nothing_else(tab: Tab, url: str) -> bool:
    """Whether the tab asked for nothing but this page, and nothing went wrong there."""
    here = url.split("?", maxsplit=1)[0]
    return {request.partition(" ")[2] for request in tab.requests} <= {here} and tab.dialogs == []


@pytest.mark.parametrize(("locale", "texts"), [("cs-CZ", CZECH), ("en-GB", ENGLISH)])
def test_an_owner_connects_the_mailbox(
    served: httpx.Client, browser: Browser, dovecot: Dovecot, user: str, locale: str, texts: Texts
) -> None:
    connector_id = prepared(served, body_for(dovecot, user))
    url = link(served, connector_id)
    tab = browser.open_tab(locale=locale, java_script_enabled=False)
    page = tab.page
    page.goto(url)
    expect(page).to_have_title(texts.title)
    for shown in ("jana.novakova@firma.cz", dovecot.host, user, "AyMINE", texts.special_uses["\\Trash"]):
        expect(page.get_by_role("definition").filter(has_text=shown).first).to_be_visible()

    page.get_by_label(texts.label).fill("not the password")
    page.get_by_role("button", name=texts.check).click()
    expect(page.get_by_role("alert")).to_have_text(texts.refused.format(tries=4))

    page.get_by_label(texts.label).fill(dovecot.password)
    page.get_by_role("button", name=texts.check).click()
    expect(page.get_by_text(texts.accepted)).to_be_visible()
    expect(page.get_by_text(texts.waiting.format(folder="AyMINE", count=2))).to_be_visible()
    expect(page.get_by_text(texts.will_move.format(target="Trash"))).to_be_visible()
    assert len(dovecot.messages(user, "AyMINE")) == 2, "nothing is moved before it is confirmed"

    page.get_by_role("button", name=texts.connect).click()
    expect(page.get_by_role("heading")).to_have_text(texts.done_title)
    assert loaded_nothing_else(tab, url)

    wait_until(lambda: len(dovecot.messages(user, "Trash")) == 2, WAIT_S, "the mail to be fetched and moved")
    stored = served.get("/messages", params={"connector_id": connector_id}, headers=OWNER).json()["data"]
    assert sorted(each["subject"] for each in stored) == ["mail 0", "mail 1"]

    page.goto(url)  # who comes again is told that all is well, and nothing can be entered any more
    expect(page.get_by_role("heading")).to_have_text(texts.done_title)
    expect(page.get_by_role("textbox")).to_have_count(0)


def test_a_full_folder_makes_the_owner_choose(
    served: httpx.Client, browser: Browser, dovecot: Dovecot, user: str
) -> None:
    for number in range(100):
        dovecot.deliver(user, mail(f"old {number}"), folder="AyMINE")
    connector_id = prepared(served, body_for(dovecot, user))
    url = link(served, connector_id)
    page = browser.open_tab(locale="en-GB", java_script_enabled=False).page
    page.goto(url)
    page.get_by_label(ENGLISH.label).fill(dovecot.password)
    page.get_by_role("button", name=ENGLISH.check).click()
    page.get_by_role("button", name=ENGLISH.connect).click()
    expect(
        page.get_by_text(ENGLISH.choose)
    ).to_be_visible()  # the browser asks for a choice and sends nothing
    page.get_by_role("radio", name=ENGLISH.choose_since).check()
    page.get_by_role("button", name=ENGLISH.connect).click()
    expect(page.get_by_role("alert")).to_have_text(ENGLISH.date_missing)
    page.get_by_role("radio", name=ENGLISH.choose_none).check()
    page.get_by_role("button", name=ENGLISH.connect).click()
    expect(page.get_by_role("heading")).to_have_text(ENGLISH.done_title)
    made = served.get(f"/connectors/{connector_id}", headers=OWNER).json()
    assert made["first_fetch"] == "none"


def test_what_an_administrator_wrote_is_shown_and_runs_nothing(
    served: httpx.Client, browser: Browser, dovecot: Dovecot, user: str
) -> None:
    folder = "<script>alert(1)</script><img src=//outside.example/x onerror=alert(2)>"
    url = link(served, prepared(served, body_for(dovecot, user, source_folder=folder)))
    tab = browser.open_tab(locale="en-GB")
    tab.page.goto(url)
    expect(tab.page.get_by_text(folder)).to_be_visible()
    assert loaded_nothing_else(tab, url)
    # A field for a password makes the browser itself call its makers; the image's host would be named, in TLS too.
    arrived = b" ".join(arrival.first for arrival in browser.outside.arrivals)
    assert b"outside.example" not in arrived


def test_no_other_site_frames_the_page_or_sends_its_form(
    served: httpx.Client, browser: Browser, dovecot: Dovecot, user: str
) -> None:
    connector_id = prepared(served, body_for(dovecot, user))
    url = link(served, connector_id)
    elsewhere = re.sub(r"//127\.0\.0\.1", "//localhost", str(served.base_url))
    tab = browser.open_tab(locale="en-GB")
    tab.page.route(
        f"{elsewhere}/evil",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<iframe src="{url}"></iframe><form method="post" action="{url}" id="f">'
            f'<input name="step" value="check"><input name="password" value="{dovecot.password}"></form>',
        ),
    )
    tab.page.goto(f"{elsewhere}/evil")
    frame = tab.page.frames[1]
    assert frame.get_by_role("heading").count() == 0
    with tab.page.expect_navigation() as sent:
        tab.page.evaluate("document.getElementById('f').submit()")
    assert sent.value is not None
    assert sent.value.status == 403
    made = served.get(f"/connectors/{connector_id}", headers=OWNER).json()
    assert made["status"] == "awaiting_credentials"


def test_on_a_phone_what_is_to_be_checked_and_what_went_wrong_are_in_sight(
    served: httpx.Client, browser: Browser, dovecot: Dovecot, user: str
) -> None:
    url = link(served, prepared(served, body_for(dovecot, user)))
    page = browser.open_tab(locale="cs-CZ", viewport={"width": 360, "height": 640}).page
    page.goto(url)
    expect(page.get_by_text("jana.novakova@firma.cz", exact=True)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_label(CZECH.label).fill("not the password")
    page.get_by_role("button", name=CZECH.check).click()
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_label(CZECH.label)).to_be_focused()
