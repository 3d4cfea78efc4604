"""Readers that do not read a large mail: the served gateway keeps pieces of it for them, not the mail."""

import base64
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.callers import bearer, user_token
from tests.support.connector_bodies import janas
from tests.support.served_gateway import served_gateway
from tools.servers.dovecot import Dovecot
from tools.servers.process import wait_until

JANA = bearer(user_token("jana"))
READERS = 20
ATTACHMENT = os.urandom(12 * 1024 * 1024)
MAIL = (
    b"From: karel@example.com\r\nSubject: Large\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(ATTACHMENT).replace(b"\n", b"\r\n")
)


@pytest.mark.parametrize("path", ["source", "attachments/1"])
def test_a_large_mail_is_kept_once_and_not_for_each_reader(
    tmp_path: Path, dovecot: Dovecot, imap_user: str, path: str
) -> None:
    dovecot.deliver(imap_user, MAIL)
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    with served_gateway(url, tmp_path) as client, ExitStack() as stack:
        client.post("/connectors", json=janas(dovecot, imap_user), headers=JANA).raise_for_status()
        wait_until(lambda: client.get("/messages", headers=JANA).json()["data"] != [], 60, "the mail")
        (message,) = client.get("/messages", headers=JANA).json()["data"]
        address = f"/messages/{message['id']}/{path}"
        whole = client.get(address, headers=JANA).content
        assert whole == (MAIL if path == "source" else ATTACHMENT)
        before = resident_octets(client.base_url.port)
        for _ in range(READERS):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", client.base_url.port))
            head = f"GET {address} HTTP/1.1\r\nHost: x\r\nAuthorization: {JANA['Authorization']}\r\n\r\n"
            reader.sendall(head.encode())
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        grown = resident_octets(client.base_url.port) - before
        # The allocator keeps some of what each thread has freed; a content for each reader would come on top of that.
        assert grown < READERS * len(ATTACHMENT) * 3 / 4


def resident_octets(port: int | None) -> int:
    """The memory of the process that listens on the port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    is_listening = f"0100007F:{port:04X}", "0A"
    (inode,) = [line[9] for line in lines if (line[1], line[3]) == is_listening]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if any(str(each.readlink()) == f"socket:[{inode}]" for each in (folder / "fd").iterdir()):
                return int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    raise AssertionError("no such process")
