"""`python -m tools.picture`: makes docs/credential-page.png. It shows the page on which an owner enters a password, before
and after the check. The program itself makes the page, in Czech and English."""

import sys
from pathlib import Path

from app.web_pages import credential_page
from app.web_pages.credential_page import Findings, Mailbox
from tools.servers.browser import Browser

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "credential-page.png"
WIDTH, HEIGHT = 620, 1010

MAILBOX = Mailbox(
    email_address="jana.novakova@firma.cz",
    server="imap.firma.cz",
    username="jana.novakova@firma.cz",
    sending_server="smtp.firma.cz",
    sending_username="jana.novakova@firma.cz",
    is_plain=False,
    source_folder="AyMINE",
    processed_folder="\\Trash",
    owner="jana.novakova",
    groups=(),
    seen="",
)
FOUND = Findings(encrypted="", waiting=12, target="Koš")


def main() -> int:
    """Write the picture."""
    pages = (credential_page.ask("cs", MAILBOX), credential_page.confirm("en", MAILBOX, FOUND))
    both = "".join(
        f"<iframe srcdoc='{page.replace(chr(39), '&#39;')}' width={WIDTH} height={HEIGHT}></iframe>"
        for page in pages
    )
    with Browser() as browser:
        tab = browser.open_tab(viewport={"width": 2 * WIDTH + 20, "height": HEIGHT}, color_scheme="light")
        tab.page.set_content(
            f"<style>body {{ display: flex; gap: 20px; margin: 0 }} iframe {{ border: 1px solid #ccc }}</style>{both}"
        )
        tab.page.screenshot(path=PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
