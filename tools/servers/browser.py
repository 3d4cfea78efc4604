"""A real browser for tests: Debian's chromium without a screen, driven by playwright.

The browser reaches loopback alone. Every other host, by name or number, leads to a listener that only notes
who came (`Browser.outside`): what a page loads, preconnects to or posts beyond the service is seen whatever the
way, and nothing ever leaves the machine. A `Tab` also keeps what its pages asked for, said and showed.
"""

import contextlib
import os
import shutil
import socketserver
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser as PlaywrightBrowser
from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Playwright, sync_playwright

from tools.servers.unpack import CHROMIUM, installed_folder, library_path, unpacked

# Beside playwright's own, which turn off updates, synchronising and the like, and the sandbox: that needs
# either a program with root's rights or namespaces, and has neither in an unpacked chromium.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-pings",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
)
# An unpacked chromium may be alone on a machine without fonts or fontconfig's own settings.
FONTS_CONF = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""
# Chromium contacts the first one by itself, although nobody asked it to.
HOSTS = "MAP *.google.com ~NOTFOUND, MAP *.googleapis.com ~NOTFOUND, MAP * 127.0.0.1:{outside}, EXCLUDE 127.0.0.1, EXCLUDE localhost"
# Swagger UI takes five seconds of a processor to show the interface, and there may be many at work on the machine.
TIMEOUT_MS = 120_000


@dataclass
class Arrival:
    """One connection to a host that is not loopback."""

    first: bytes = b""
    """What it began with: an HTTP request, or TLS that names its host; nothing as long as it is silent."""


class Outside(socketserver.ThreadingTCPServer):
    """Takes the place of every host except loopback. `arrivals` has each connection."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        super().__init__(("127.0.0.1", 0), _Reception)
        self.port = int(self.server_address[1])


class _Reception(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Outside)
        arrival = Arrival()
        self.server.arrivals.append(arrival)
        self.request.settimeout(5)
        with contextlib.suppress(OSError):
            arrival.first = self.request.recv(2000)
            # Without an answer, chromium asks again.
            self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@dataclass
class Tab:
    """A page in a fresh profile, and what it and whatever it opened did."""

    context: BrowserContext
    page: Page = field(init=False)
    requests: list[str] = field(default_factory=list)
    """Method and URL of each, as `GET http://127.0.0.1:…/`; `data:` and `blob:` too."""
    errors: list[str] = field(default_factory=list)
    """Errors in the console (also of a load that failed or was refused) and exceptions of scripts."""
    dialogs: list[str] = field(default_factory=list)
    """Alerts, questions and the like; each is dismissed."""

    def __post_init__(self) -> None:
        self.context.set_default_timeout(TIMEOUT_MS)
        self.context.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("console", self._record_error)
        self.context.on("dialog", self._dismiss)
        self.page = self.context.new_page()

    def _record_error(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.errors.append(said.text)

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()


class Browser:
    """Chromium. Use as a context manager, or `start` and `stop`; only in the thread that started it.

    Until it is stopped that thread has a running event loop: `asyncio.run` is refused there.
    """

    def __init__(self) -> None:
        self.outside = Outside()
        self._playwright: Playwright | None = None
        self._browser: PlaywrightBrowser | None = None

    def start(self) -> Self:
        """Start and wait until it answers. Raises ServerMissing if there is no chromium."""
        self.home = Path(tempfile.mkdtemp(prefix="chromium-"))
        threading.Thread(target=self.outside.serve_forever, name="outside", daemon=True).start()
        try:
            program, environment = self._located()
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=program,
                args=[*FLAGS, f"--host-resolver-rules={HOSTS.format(outside=self.outside.port)}"],
                env={**os.environ, "HOME": str(self.home), **environment},
            )
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the browser and forget its profiles."""
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()
        self._browser = self._playwright = None
        self.outside.shutdown()
        self.outside.server_close()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def open_tab(self, **options: Any) -> Tab:
        """A tab in a profile of its own; the options are those of playwright's `new_context`
        (`locale="cs-CZ"`, `java_script_enabled=False`)."""
        assert self._browser is not None, "not started"
        return Tab(self._browser.new_context(**options))

    def _located(self) -> tuple[Path, dict[str, str]]:
        """The program to start, and what it needs in its environment."""
        installed = installed_folder(CHROMIUM)
        if installed is not None:
            return installed / CHROMIUM.program, {}
        tree = unpacked(CHROMIUM)
        settings = self.home / "fonts.conf"
        settings.write_text(FONTS_CONF.format(fonts=tree / "usr/share/fonts", cache=self.home / "fontconfig"))
        # PulseAudio keeps a library that chromium is linked with in a folder of its own.
        libraries = [library_path(tree), *map(str, tree.glob("usr/lib/*-linux-*/pulseaudio"))]
        return (
            tree / "usr/lib/chromium/chromium",
            {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(settings)},
        )
