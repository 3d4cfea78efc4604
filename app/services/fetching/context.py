"""The values that all parts of one fetch cycle share."""

from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.imap import ImapSession
from app.gateway import Gateway
from app.models import Connector
from app.services.fetching.leases import HeldLease
from app.services.fetching.ledger import NumberedFolder
from app.services.fetching.tally import Tally


@dataclass(frozen=True, slots=True)
class CycleContext:
    """One cycle, once both folders are known and the source folder is selected."""

    gateway: Gateway
    connector: Connector
    lease: HeldLease
    imap: ImapSession
    source: NumberedFolder
    target_folder: str
    """The processed folder's name on the server."""
    tally: Tally
    stopping: Callable[[], bool]
    """Whether the cycle should end after the present batch."""
