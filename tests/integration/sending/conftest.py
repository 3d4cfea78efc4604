"""A served gateway with a mailbox that sends and receives."""

from collections.abc import Iterator

import httpx
import pytest

from app.gateway import Gateway
from app.models import Connector
from app.services.sending.sender import Sender
from tests.support.sending_mailbox import sending_connector
from tests.support.served_gateway import served_gateway
from tests.support.served_mailbox import ServedMailbox
from tools.servers.dovecot import Dovecot
from tools.servers.smtp import SmtpServer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("served")
    with served_gateway(f"sqlite:///{folder / 'gateway.db'}", folder) as client:
        yield client


@pytest.fixture
def served_mailbox(served: httpx.Client, dovecot: Dovecot, smtp_server: SmtpServer) -> ServedMailbox:
    """A shared mailbox of the group `sales`."""
    return ServedMailbox.made(served, dovecot, smtp_server, group="sales")


@pytest.fixture
def sender(gateway: Gateway) -> Iterator[Sender]:
    made = Sender(gateway)
    yield made
    made.stop()


@pytest.fixture
def mailbox(gateway: Gateway, smtp_server: SmtpServer) -> Connector:
    return sending_connector(gateway, smtp_server)
