"""Deletes messages by age: each connector sets after how many days its processed messages are deleted."""

from datetime import timedelta

from sqlalchemy import select
from sqlmodel import col

from app import clock
from app.gateway import Gateway
from app.models import Connector, Message
from app.services.access import audit
from app.services.messages import deletion
from app.states import MessageState

TIME_BUDGET_S = 20


def delete_due(gateway: Gateway) -> int:
    """Delete the messages that are due, until none is left or the time is over. The connectors take turns. Returns the number of
    deleted messages."""
    now = clock.utc_now()
    with gateway.db.reading() as session:
        statement = select(col(Connector.id), col(Connector.delete_processed_after_days)).where(
            col(Connector.delete_processed_after_days).is_not(None)
        )
        retentions = session.execute(statement).all()
    running = [
        deletion.delete_in_batches(
            gateway,
            audit.RETENTION,
            [
                col(Message.connector_id) == connector_id,
                col(Message.state) == MessageState.PROCESSED,
                col(Message.processed_at) < now - timedelta(days=days),
            ],
        )
        for connector_id, days in retentions
        if days is not None
    ]
    deleted = 0
    end = now + timedelta(seconds=TIME_BUDGET_S)
    while running and clock.utc_now() < end:
        unfinished = []
        for batches in running:
            batch = next(batches, None)
            if batch is not None:
                deleted += batch
                unfinished.append(batches)
        running = unfinished
    return deleted
