"""The server of a frontend's pages: another origin than the gateway's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pages:
    """HTML by path, settable at any time; what is not there is 404."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.html: dict[str, str] = {}

    def put(self, path: str, html: str) -> str:
        """Show the HTML at the path; its address."""
        self.html[path] = html
        return self.origin + path


@contextmanager
def page_server() -> Iterator[Pages]:
    """Pages on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            html = pages.html.get(self.path)
            self.send_response(HTTPStatus.NOT_FOUND if html is None else HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((html or "").encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages = Pages(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
    thread.start()
    try:
        yield pages
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
