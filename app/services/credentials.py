"""The secrets with which connectors log in: encrypted when they are entered, opened only to be used."""

import json

from sqlmodel import Session

from app import clock
from app.adapters.secretbox import credential_place
from app.gateway import Gateway
from app.models import Connector, Credential


def enter(session: Session, gateway: Gateway, connector: Connector, password: str, *, by: str) -> None:
    """Store a password in place of any that is there. `by` is the name of the principal."""
    secret = json.dumps({"type": "password", "password": password})
    ciphertext = gateway.secrets.seal(secret, place=credential_place(connector.id))
    credential = session.get(Credential, connector.id)
    if credential is None:
        credential = Credential(
            connector_id=connector.id,
            type="password",
            ciphertext=ciphertext,
            entered_by=by,
            updated_at=clock.utc_now(),
        )
        session.add(credential)
    credential.ciphertext = ciphertext
    credential.entered_by = by
    credential.updated_at = clock.utc_now()
    session.flush()


def discard(session: Session, connector_id: str) -> None:
    """Forget what is stored."""
    credential = session.get(Credential, connector_id)
    if credential is not None:
        session.delete(credential)
        session.flush()


def exist(session: Session, connector_id: str) -> bool:
    """Whether something is stored."""
    return session.get(Credential, connector_id) is not None


def opened(gateway: Gateway, connector_id: str, ciphertext: str) -> str:
    """The password.

    Raises:
        SecretUnreadable
    """
    secret = json.loads(gateway.secrets.open(ciphertext, place=credential_place(connector_id)))
    return str(secret["password"])
