"""SMTP servers of a few lines, for what no real server does: silence, single replies, drops of octets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress


@contextmanager
def accepting(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a free port; each connection is served in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        opened: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                opened.append(connection)
                threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        for connection in opened:
            connection.close()
        thread.join(5)


def _quietly(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with suppress(OSError):
        serve(connection)


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with accepting(lambda connection: None) as port:
        yield port


@contextmanager
def scripted_server(replies: list[bytes]) -> Iterator[int]:
    """Gives the replies, one before each thing it reads, then closes."""

    def serve(connection: socket.socket) -> None:
        for reply in replies:
            connection.sendall(reply)
            if not connection.recv(65536):
                break
        connection.close()

    with accepting(serve) as port:
        yield port


@contextmanager
def dripping_server() -> Iterator[int]:
    """A greeting without end, one octet at a time."""

    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"2")
            threading.Event().wait(0.1)

    with accepting(serve) as port:
        yield port
