"""What `Retry-After` says of a mail server that turns a request away."""

import pytest
from fastapi.testclient import TestClient

from app.gateway import Gateway
from tests.support.callers import Callers
from tests.support.fetched_mailbox import mailbox
from tools.servers.dovecot import Dovecot
from tools.servers.imap_proxy import ImapProxy, answer

ADMIN = Callers.user("administrator", admin=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("refusal", "code", "retry_after"),
    [
        ("BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", "throttled", "300"),
        ("BAD Request is throttled. Suggested Backoff Time: 1 milliseconds", "throttled", "1"),
        ("NO [UNAVAILABLE] not now", "mail_server_unavailable", "30"),
    ],
)
def test_retry_after_is_what_the_mail_server_asks_for(
    gateway: Gateway,
    client: TestClient,
    dovecot: Dovecot,
    imap_proxy: ImapProxy,
    refusal: str,
    code: str,
    retry_after: str,
) -> None:
    box = mailbox(gateway, dovecot, imap_port=imap_proxy.port)
    imap_proxy.break_on("LOGIN", answer(refusal))
    refused = client.get(f"/connectors/{box.connector_id}/folders", headers=ADMIN)
    assert (refused.status_code, refused.json()["code"]) == (503, code)
    assert refused.headers["retry-after"] == retry_after
