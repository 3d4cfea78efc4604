"""Stored secrets are encrypted anew while the service runs: all of them, without a loss, any number of times."""

import itertools
import os
import signal
import threading
from pathlib import Path

import pytest
from sqlmodel import Session, col, select, update

from app import clock
from app.adapters.secretbox import SecretBox, credential_place, webhook_place
from app.config import Settings
from app.gateway import Gateway
from app.models import Connector, Credential, Webhook
from app.services import secret_rotation
from app.services.mailboxes.credentials import servers_of
from app.services.secret_rotation import Progress
from app.states import ConnectorKind, ConnectorStatus, Security
from tests.support.forked_command import HeardCommand
from tests.support.settings import SettingsFactory
from tools.servers.process import wait_until

OLD = "the-old-key-of-thirty-two-characters-or-more"
NEW = "the-new-key-of-thirty-two-characters-or-more"


def fill(settings: Settings, *, credentials: int, webhooks: int) -> None:
    """Rows whose secrets are `password <id>` and `secret <id>`."""
    gateway = Gateway.from_settings(settings)
    now = clock.utc_now()
    with gateway.db.unit_of_work() as session:
        for number in range(credentials):
            connector_id = f"connector-{number:05}"
            session.add(
                Connector(
                    id=connector_id,
                    name="Info",
                    kind=ConnectorKind.SHARED,
                    email_address="info@firma.cz",
                    imap_host="imap.firma.cz",
                    imap_port=993,
                    imap_security=Security.TLS,
                    imap_username=connector_id,
                    source_folder="INBOX",
                    processed_folder="\\Trash",
                    poll_interval_s=60,
                    status=ConnectorStatus.ACTIVE,
                    created_at=now,
                    updated_at=now,
                )
            )
        session.flush()
        for number in range(credentials):
            connector_id = f"connector-{number:05}"
            place = credential_place(connector_id)
            session.add(
                Credential(
                    connector_id=connector_id,
                    type="password",
                    ciphertext=gateway.secrets.encrypt(
                        f"password {connector_id}",
                        place=place,
                        use=servers_of(session.get_one(Connector, connector_id)),
                    ),
                )
            )
        for number in range(webhooks):
            webhook_id = f"webhook-{number:05}"
            session.add(
                Webhook(
                    id=webhook_id,
                    url="https://example.com",
                    secret_ciphertext=gateway.secrets.encrypt(
                        f"secret {webhook_id}", place=webhook_place(webhook_id)
                    ),
                    acts_for="user:administrator",
                    fanned_out_position=0,
                    created_at=now,
                    updated_at=now,
                )
            )
    gateway.close()


def plaintexts(session: Session, box: SecretBox) -> dict[str, str]:
    """Every stored secret by its row."""
    _connectors = session.exec(select(Connector)).all()  # at once; `get_one` finds them in the session
    opened = {
        row.connector_id: box.decrypt(
            row.ciphertext,
            place=credential_place(row.connector_id),
            use=servers_of(session.get_one(Connector, row.connector_id)),
        )
        for row in session.exec(select(Credential))
    }
    for hook in session.exec(select(Webhook)):
        opened[hook.id] = box.decrypt(hook.secret_ciphertext, place=webhook_place(hook.id))
    return opened


def expected(credentials: int, webhooks: int) -> dict[str, str]:
    return {f"connector-{n:05}": f"password connector-{n:05}" for n in range(credentials)} | {
        f"webhook-{n:05}": f"secret webhook-{n:05}" for n in range(webhooks)
    }


@pytest.fixture
def rotating(settings: SettingsFactory) -> Settings:
    """Settings with a new key in front of the old."""
    return settings(secret_keys=f"{NEW},{OLD}")


@pytest.fixture
def only_new(settings: SettingsFactory) -> SecretBox:
    return SecretBox(settings(secret_keys=NEW).secret_keys)


def test_afterwards_the_old_key_is_not_needed(
    settings: SettingsFactory, rotating: Settings, only_new: SecretBox
) -> None:
    fill(settings(secret_keys=OLD), credentials=250, webhooks=3)
    gateway = Gateway.from_settings(rotating)
    steps = list(secret_rotation.rotate(gateway))
    assert steps[-1] == Progress(rotated=253, unreadable=0)
    assert len(steps) == 4  # 100, 100, 50 and the webhooks: one transaction each
    with gateway.db.reading() as session:
        assert plaintexts(session, only_new) == expected(250, 3)
    assert list(secret_rotation.rotate(gateway)) == []
    gateway.close()


def test_a_run_that_was_cut_off_is_finished_by_the_next(
    settings: SettingsFactory, rotating: Settings, only_new: SecretBox
) -> None:
    fill(settings(secret_keys=OLD), credentials=250, webhooks=1)
    gateway = Gateway.from_settings(rotating)
    assert list(itertools.islice(secret_rotation.rotate(gateway), 1)) == [Progress(rotated=100)]
    assert list(secret_rotation.rotate(gateway))[-1] == Progress(rotated=151)
    with gateway.db.reading() as session:
        assert plaintexts(session, only_new) == expected(250, 1)
    gateway.close()


def test_a_secret_that_no_key_decrypts_stays_and_is_counted(
    settings: SettingsFactory, rotating: Settings
) -> None:
    fill(settings(secret_keys="a-lost-key-of-thirty-two-characters-or-more"), credentials=150, webhooks=0)
    gateway = Gateway.from_settings(rotating)
    with gateway.db.reading() as session:
        before = session.exec(select(Credential.ciphertext)).all()
    assert list(secret_rotation.rotate(gateway))[-1] == Progress(rotated=0, unreadable=150)
    with gateway.db.reading() as session:
        assert session.exec(select(Credential.ciphertext)).all() == before
    gateway.close()


def test_a_password_changed_meanwhile_is_not_overwritten(
    settings: SettingsFactory, rotating: Settings
) -> None:
    fill(settings(secret_keys=OLD), credentials=40, webhooks=0)
    gateway, service = Gateway.from_settings(rotating), Gateway.from_settings(rotating)
    changed = [f"connector-{number:05}" for number in range(40)]
    start = threading.Barrier(2)

    def change_all() -> None:
        start.wait()
        for connector_id in changed:
            with service.db.unit_of_work() as session:
                encrypted = service.secrets.encrypt(
                    "a new password",
                    place=credential_place(connector_id),
                    use=servers_of(session.get_one(Connector, connector_id)),
                )
                session.exec(
                    update(Credential)
                    .where(col(Credential.connector_id) == connector_id)
                    .values(ciphertext=encrypted)
                )

    owner = threading.Thread(target=change_all)
    owner.start()
    start.wait()
    while owner.is_alive():
        list(secret_rotation.rotate(gateway))
    owner.join()
    with gateway.db.reading() as session:
        assert set(plaintexts(session, gateway.secrets).values()) == {"a new password"}
    gateway.close()
    service.close()


def test_a_killed_command_is_run_again_and_ends_well(
    settings: SettingsFactory, rotating: Settings, only_new: SecretBox, database_url: str, tmp_path: Path
) -> None:
    fill(settings(secret_keys=OLD), credentials=600, webhooks=5)
    environment = {
        **os.environ,
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_SECRET_KEYS": f"{NEW},{OLD}",
    }
    first = HeardCommand(["rotate-secrets"], folder=tmp_path, environment=environment)
    wait_until(lambda: "encrypted anew" in first.errors(), 60, "the first batch")
    first.send_signal(signal.SIGKILL)
    first.ended(60)
    second = HeardCommand(["rotate-secrets"], folder=tmp_path, environment=environment)
    printed, errors = second.ended(120)
    assert (second.returncode, errors.count("Traceback")) == (0, 0), errors
    gateway = Gateway.from_settings(rotating)
    with gateway.db.reading() as session:
        assert plaintexts(session, only_new) == expected(600, 5)
    gateway.close()
    assert OLD not in printed + errors
    assert "password connector" not in printed + errors
