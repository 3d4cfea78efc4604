"""pytest fixtures of the real servers; `tests/conftest.py` registers them.

Servers of their own process start once for each worker and tests are apart by user or database; what lives in
a thread is cheap and starts once too, reset before each test. A server that can't be had skips the tests that
need it, naming what is missing; with CI=true that is a failure, because there a skip would go unseen.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tools.servers.browser import Browser, Tab
from tools.servers.certificates import Certificates
from tools.servers.courier import Courier
from tools.servers.cyrus import Cyrus
from tools.servers.dovecot import Dovecot
from tools.servers.exim import Exim
from tools.servers.http_receiver import HttpReceiver
from tools.servers.imap_proxy import ImapProxy
from tools.servers.inetd import InetdImapServer
from tools.servers.mailutils import Mailutils
from tools.servers.postgres import Postgres
from tools.servers.process import ServerMissing
from tools.servers.smtp import SmtpServer

Started = TypeVar("Started")


def started_or_skipped(start: Callable[[], Started], config: pytest.Config | None = None) -> Started:
    """What `start` returns; when a server is missing the test is skipped, or failed with CI=true.

    With the `config` the progress of a fetch is seen in spite of pytest's capturing.
    """
    capture = config.pluginmanager.getplugin("capturemanager") if config else None
    try:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            return start()
    except ServerMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing with CI=true: {missing}")
        pytest.skip(f"missing: {missing}")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authority that the servers' certificates come from."""
    return Certificates.made_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def dovecot(certificates: Certificates, pytestconfig: pytest.Config) -> Iterator[Dovecot]:
    """Dovecot with Maildir; `port` plain and STARTTLS, `tls_port` IMAP over TLS."""
    server = started_or_skipped(lambda: Dovecot(certificates=certificates).start(), pytestconfig)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def dovecot_tls(dovecot: Dovecot) -> Dovecot:
    """The same server as `dovecot`: it always has TLS, and a second one would only cost time."""
    return dovecot


@pytest.fixture(scope="session")
def dovecot_mdbox(certificates: Certificates, pytestconfig: pytest.Config) -> Iterator[Dovecot]:
    """Dovecot with mdbox, "/" between folders and Czech folder names with special uses."""
    folders = {"Koš": "\\Trash", "Odeslané": "\\Sent", "Koncepty": "\\Drafts", "Nevyžádané": "\\Junk"}
    server = started_or_skipped(
        lambda: Dovecot(
            mail_format="mdbox", separator="/", folders=folders, certificates=certificates
        ).start(),
        pytestconfig,
    )
    yield server
    server.stop()


@pytest.fixture(scope="session", params=[Courier, Mailutils], ids=["courier", "mailutils"])
def other_imap_server(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config
) -> Iterator[InetdImapServer]:
    """Each of the other real servers."""
    server = started_or_skipped(lambda: request.param().__enter__(), pytestconfig)
    yield server
    server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def running_cyrus(pytestconfig: pytest.Config) -> Iterator[Cyrus]:
    """Cyrus, started once."""
    server = started_or_skipped(lambda: Cyrus().__enter__(), pytestconfig)
    yield server
    server.__exit__(None, None, None)


@pytest.fixture
def cyrus(running_cyrus: Cyrus) -> Iterator[Cyrus]:
    """Cyrus with its spool in place."""
    yield running_cyrus
    running_cyrus.give_spool_back()


@pytest.fixture(scope="session")
def exim(dovecot: Dovecot, pytestconfig: pytest.Config) -> Iterator[Exim]:
    """Exim, which delivers into the mailboxes of `dovecot`."""
    server = started_or_skipped(lambda: Exim(dovecot).__enter__(), pytestconfig)
    yield server
    server.__exit__(None, None, None)


@pytest.fixture
def imap_user(dovecot: Dovecot) -> str:
    """A user of `dovecot` with an empty mailbox."""
    return dovecot.new_user()


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """PostgreSQL; take `new_database()`, or the fixture `postgres_url`."""
    server = started_or_skipped(lambda: Postgres().start(), pytestconfig)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def _smtp_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def smtp_server(_smtp_server: SmtpServer) -> SmtpServer:
    """SMTP without TLS or AUTH; with these, start an `SmtpServer` of your own (it costs milliseconds)."""
    _smtp_server.reset()
    return _smtp_server


@pytest.fixture(scope="session")
def _http_receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def http_receiver(_http_receiver: HttpReceiver) -> HttpReceiver:
    """An HTTP receiver that answers 204, unless a test sets another answer."""
    _http_receiver.reset()
    return _http_receiver


@pytest.fixture
def imap_proxy(dovecot: Dovecot) -> Iterator[ImapProxy]:
    """A proxy before `dovecot` that changes nothing, unless a test sets a change."""
    with ImapProxy(dovecot.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """Chromium, for a file of tests: while it runs its thread's event loop does, and `asyncio.run` is refused.

    `browser.open_tab(locale="cs-CZ")` where `tab` is not enough; `browser.outside` tells who left loopback.
    """
    started = started_or_skipped(lambda: Browser().start(), pytestconfig)
    yield started
    started.stop()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A tab in a fresh profile that keeps what its pages asked for, said and showed."""
    opened = browser.open_tab()
    yield opened
    opened.context.close()
