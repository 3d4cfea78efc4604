"""What a crashing process is busy with."""

from collections.abc import Callable
from dataclasses import dataclass

from app.gateway import Gateway
from tests.support.fetched_mailbox import Mailbox, mailbox
from tests.support.stored_mail import mail
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy

TWINS = [mail("twin"), mail("twin")]
ORDINARY = [mail("one"), *TWINS, mail("two")]
OVERSIZE = mail("large", text="x" * 5000)
LIMIT_OCTETS = 4000
POISON = b"Content-Type: multipart/mixed; boundary=" + b'"' * 900 + b"\r\nTo: " + b'"a"a' * 200 + b"\r\n\r\n"


@dataclass(frozen=True)
class Workload:
    """A mailbox, with what happens to it before the process is killed and afterwards."""

    raws: tuple[bytes, ...] = tuple(ORDINARY)
    hidden: tuple[str, ...] = ()
    """Capabilities that the server seems to lack."""
    before: Callable[[Mailbox], None] = lambda _box: None
    between: Callable[[Mailbox], None] = lambda _box: None
    left: int = 0
    """How many mails stay in the source folder by design."""
    keeps_flagged: bool = False
    """The server lacks UIDPLUS: what was copied stays in the source folder, flagged."""

    def fill(self, gateway: Gateway, server: Dovecot, proxy: ImapProxy) -> Mailbox:
        """A mailbox of its own with the mails in it."""
        proxy.hide(*self.hidden)
        box = mailbox(gateway, server, imap_port=proxy.port, poll_interval_s=1)
        server.deliver_all(box.user, list(self.raws))
        self.before(box)
        return box


def _number_anew(box: Mailbox) -> None:
    assert isinstance(box.server, Dovecot)
    box.server.set_uid_validity(box.user, 4_000_000)


def _without_trash(box: Mailbox) -> None:
    with box.server.client(box.user) as client:
        client.delete_folder("Trash")


def _put_back(box: Mailbox) -> None:
    """Two mails are processed, and one of them is moved back; the other, with the same bytes, stays."""
    box.fetch_well()
    with box.server.client(box.user) as client:
        client.select_folder("Trash")
        client.move(client.search("SUBJECT twin")[:1], "INBOX")
    box.server.deliver(box.user, mail("three"))


WORKLOADS = {
    "move": Workload(),
    "uidplus-only": Workload(hidden=("MOVE",)),
    "neither": Workload(hidden=("MOVE", "UIDPLUS"), keeps_flagged=True),
    "poison-and-oversize": Workload(raws=(*ORDINARY, POISON, OVERSIZE), left=1),
    "numbered-anew": Workload(between=_number_anew),
    "no-trash": Workload(before=_without_trash),
    "twins-and-a-returned-mail": Workload(before=_put_back),
}
