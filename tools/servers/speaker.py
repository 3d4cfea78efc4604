"""A port at which something is said that a test chooses: on each connection, in a thread of its own."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Speak = Callable[[socket.socket], None]


@contextlib.contextmanager
def speaking(speak: Speak, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port, for as long as the block lasts; in TLS from the first octet where a context is given."""
    open_connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            if tls is None:
                speak(connection)
            else:
                with tls.wrap_socket(connection, server_side=True) as secured:
                    speak(secured)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def says_at_once(octets: bytes) -> Speak:
    """Says this, and listens until the other side has left."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(octets)
        while connection.recv(4096):
            pass

    return speak


def answers(greeting: bytes, *replies: bytes) -> Speak:
    """Greets, and answers each line with the next reply, `%T` in it being the line's first word; the last one for
    ever."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(greeting)
        left = list(replies)
        for line in connection.makefile("rb"):
            reply = left.pop(0) if len(left) > 1 else left[0]
            connection.sendall(reply.replace(b"%T", line.split(b" ")[0].strip() or b"*"))

    return speak


def hangs_up(_connection: socket.socket) -> None:
    """Says nothing and closes."""


def is_silent(connection: socket.socket) -> None:
    """Says nothing, whatever it hears."""
    while connection.recv(4096):
        pass


def speaks_http(connection: socket.socket) -> None:
    """Says nothing before it has read a line (RFC 9112 §3)."""
    connection.makefile("rb").readline()
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
