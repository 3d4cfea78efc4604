"""A password is for the servers it was entered for: an upgrade binds those that are stored, and nobody enters one anew."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlmodel import col

from alembic import command
from app import clock, migrations
from app.adapters.secretbox import SecretBox, credential_place, is_bound
from app.config import Settings
from app.errors import SecretUnreadable, SettingsChanged
from app.gateway import Gateway
from app.main import create_app
from app.models import Connector, Credential, UpgradeStep
from app.services import logins, secret_binding, secret_rotation
from app.services.fetching import fetch_cycle
from app.services.mailboxes import credentials
from app.services.sending.sender import Sender
from tests.support.callers import Callers
from tests.support.connector_bodies import PASSWORD, created, shared
from tests.support.sending_mailbox import sending_connector, submit
from tests.support.settings import SettingsFactory
from tests.support.stored_mail import connector
from tools.servers.listener import Listener
from tools.servers.smtp import SmtpServer

ADMIN = Callers.user("administrator", admin=True)
BEFORE = "0006"
"""The schema of the last version that did not bind."""
OLD = "the-old-key-of-thirty-two-characters-or-more"
NEW = "the-new-key-of-thirty-two-characters-or-more"


def unbound(key: SecretBox, connector_id: str, password: str) -> str:
    """As the version before stored a password."""
    secret = json.dumps({"type": "password", "password": password})
    return key.encrypt(secret, place=credential_place(connector_id))


def filled_before(settings: Settings, count: int) -> None:
    """Go back to the schema of before, and fill it as its version did; the passwords are `password <id>`."""
    command.downgrade(migrations.config_for(settings.database_url), BEFORE)
    engine = sa.create_engine(settings.database_url)
    tables = sa.MetaData()
    tables.reflect(engine, only=["connectors", "credentials"])
    now, box = clock.utc_now(), SecretBox(settings.secret_keys)
    ids = [f"connector-{number:05}" for number in range(count)]
    values: dict[str, Any] = {
        "name": "Info",
        "kind": "shared",
        "email_address": "info@firma.cz",
        "imap_host": "127.0.0.1",
        "imap_port": 1,
        "imap_security": "none",
        "source_folder": "INBOX",
        "processed_folder": "\\Trash",
        "poll_interval_s": 60,
        "paused": False,
        "refused_logins": 0,
        "failed_attempts": 0,
        "status": "active",
        "created_at": now,
        "updated_at": now,
    }
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.tables["connectors"]),
            [{"id": id_, "imap_username": id_, **values} for id_ in ids],
        )
        connection.execute(
            sa.insert(tables.tables["credentials"]),
            [
                {
                    "connector_id": id_,
                    "type": "password",
                    "ciphertext": unbound(box, id_, f"password {id_}"),
                }
                for id_ in ids
            ],
        )
    engine.dispose()
    migrations.upgrade(settings.database_url)


def passwords(gateway: Gateway) -> dict[str, str]:
    """What each connector would log in with."""
    opened: dict[str, str] = {}
    with gateway.db.reading() as session:
        for connector_id in session.execute(sa.select(col(Credential.connector_id))).scalars().all():
            found = credentials.with_settings(session, connector_id)
            assert found is not None
            assert found[1] is not None
            opened[connector_id] = credentials.decrypted(
                gateway, credentials.stored(session, found[0], found[1])
            )
    return opened


def expected(count: int) -> dict[str, str]:
    return {f"connector-{number:05}": f"password connector-{number:05}" for number in range(count)}


def bound_rows(gateway: Gateway) -> list[bool]:
    with gateway.db.reading() as session:
        return [is_bound(each) for each in session.execute(sa.select(col(Credential.ciphertext))).scalars()]


def is_done(gateway: Gateway) -> bool:
    with gateway.db.reading() as session:
        return session.get(UpgradeStep, credentials.BINDING) is not None


@pytest.fixture
def not_done(gateway: Gateway) -> None:
    """No gateway that binds has started yet."""
    with gateway.db.unit_of_work() as session:
        session.delete(session.get_one(UpgradeStep, credentials.BINDING))


def set_row(gateway: Gateway, connector_id: str, **values: Any) -> None:
    """As somebody does who can write the database and has no key."""
    with gateway.db.unit_of_work() as session:
        session.execute(sa.update(Connector).where(col(Connector.id) == connector_id).values(**values))


def change_ciphertext(gateway: Gateway, connector_id: str, ciphertext: str) -> None:
    with gateway.db.unit_of_work() as session:
        row = session.get_one(Credential, connector_id)
        row.ciphertext = ciphertext


@pytest.fixture
def nobody() -> Iterator[SmtpServer]:
    """An SMTP server that nobody is to speak to."""
    with SmtpServer() as server:
        yield server


class TestTheUpgrade:
    def test_the_first_start_binds_every_password_and_loses_none(
        self, settings: SettingsFactory, gateway: Gateway
    ) -> None:
        filled_before(settings(), 205)
        assert passwords(gateway) == expected(205)
        assert not any(bound_rows(gateway))
        with TestClient(create_app(settings())):
            assert all(bound_rows(gateway))
        assert is_done(gateway)
        assert passwords(gateway) == expected(205)

    def test_a_run_that_was_cut_off_is_finished_by_the_next(
        self, settings: SettingsFactory, gateway: Gateway
    ) -> None:
        filled_before(settings(), 205)
        with gateway.db.unit_of_work() as session:
            after, bound, _ = secret_binding._bind_batch(session, gateway, "")
        assert (after, bound) == ("connector-00099", 100)
        assert passwords(gateway) == expected(205)
        assert not is_done(gateway)
        secret_binding.bind(gateway)
        assert all(bound_rows(gateway))
        assert is_done(gateway)
        assert passwords(gateway) == expected(205)

    def test_the_rotation_of_keys_binds_too(self, settings: SettingsFactory) -> None:
        filled_before(settings(secret_keys=OLD), 3)
        rotating = Gateway.from_settings(settings(secret_keys=f"{NEW},{OLD}"))
        list(secret_rotation.rotate(rotating))
        rotating.close()
        only_new = Gateway.from_settings(settings(secret_keys=NEW))
        assert is_done(only_new)
        assert passwords(only_new) == expected(3)
        only_new.close()

    def test_a_start_without_the_key_leaves_the_passwords_for_one_that_has_it(
        self, settings: SettingsFactory
    ) -> None:
        filled_before(settings(secret_keys=OLD), 2)
        without = Gateway.from_settings(settings(secret_keys=NEW))
        secret_binding.bind(without)
        assert not is_done(without)
        without.close()
        having = Gateway.from_settings(settings(secret_keys=f"{NEW},{OLD}"))
        secret_binding.bind(having)
        assert is_done(having)
        assert passwords(having) == expected(2)
        having.close()

    @pytest.mark.usefixtures("not_done")
    def test_afterwards_the_first_form_is_not_read(self, gateway: Gateway, nobody: SmtpServer) -> None:
        at = sending_connector(gateway, nobody)
        change_ciphertext(gateway, at.id, unbound(gateway.secrets, at.id, "from a backup"))
        assert passwords(gateway) == {at.id: "from a backup"}
        secret_binding.bind(gateway)
        change_ciphertext(gateway, at.id, unbound(gateway.secrets, at.id, "from a backup"))
        with pytest.raises(SecretUnreadable):
            passwords(gateway)


class TestARowThatIsPointedElsewhere:
    def test_does_not_tell_the_other_server_the_password(self, gateway: Gateway, nobody: SmtpServer) -> None:
        with Listener(greeting=b"* OK ready\r\n") as elsewhere:
            for values in (
                {"imap_port": elsewhere.port},
                {"imap_host": "127.0.0.2"},
                {"imap_username": "another"},
                {"imap_security": "tls"},
                {"smtp_port": elsewhere.port},
                {"smtp_host": None, "smtp_port": None, "smtp_security": None, "smtp_username": None},
            ):
                at = sending_connector(gateway, nobody)
                set_row(gateway, at.id, **values)
                cycle = fetch_cycle.run(gateway, at.id)
                assert cycle is not None
                assert cycle.error_code == SecretUnreadable.code, values
            assert elsewhere.accepted == 0

    def test_does_not_send_to_the_other_server(self, gateway: Gateway, nobody: SmtpServer) -> None:
        with Listener(greeting=b"220 ready\r\n") as elsewhere:
            at = sending_connector(gateway, nobody)
            made = submit(gateway, at)
            set_row(gateway, at.id, smtp_port=elsewhere.port)
            sender = Sender(gateway)
            sender.send_due()
            assert sender.wait(30)
            assert elsewhere.accepted == 0
        with gateway.db.reading() as session:
            row = session.get_one(type(made.submission), made.submission.id)
        # It was made for another server, so it waits for the owner and is not even tried.
        assert (row.status, row.attempts) == ("queued", 0)


class TestAChange:
    def test_that_keeps_the_password_binds_it_to_the_servers_that_are_left(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        smtp = {"host": "smtp.firma.invalid", "username": "info"}
        made = created(client, ADMIN, shared(smtp=smtp, credentials=PASSWORD))
        answer = client.patch(f"/connectors/{made['id']}", json={"smtp": None}, headers=ADMIN)
        assert (answer.status_code, answer.json()["has_credentials"]) == (200, True)
        assert passwords(gateway) == {made["id"]: PASSWORD["password"]}

    def test_between_settings_and_password_tells_the_server_of_before_nothing(
        self, client: TestClient, gateway: Gateway
    ) -> None:
        with Listener(greeting=b"* OK ready\r\n") as elsewhere:
            imap = {"host": "127.0.0.1", "port": elsewhere.port, "security": "none", "username": "jana"}
            made = created(client, ADMIN, shared(imap=imap, credentials=PASSWORD))
            with gateway.db.reading() as session:
                as_read = session.get_one(Connector, made["id"])
            change = {"imap": {"port": 1}, "credentials": {"type": "password", "password": "for-port-1"}}
            assert client.patch(f"/connectors/{made['id']}", json=change, headers=ADMIN).status_code == 200
            with pytest.raises(SettingsChanged), logins.opened(gateway, as_read):
                pass
            assert elsewhere.accepted == 0


@pytest.mark.usefixtures("not_done")
def test_a_connector_that_never_had_a_password_needs_nothing(gateway: Gateway) -> None:
    connector(gateway)
    secret_binding.bind(gateway)
    assert is_done(gateway)
