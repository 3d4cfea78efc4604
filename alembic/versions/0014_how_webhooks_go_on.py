"""How a webhook goes on after a refusal, how it is written to, and why it was switched off.

Revision: 0014
"""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

IS_PENDING = sa.text("status = 'pending'")


# Not in a batch: on SQLite that may make the table anew, and what refers to its rows would go with the old one.


def _of_webhooks() -> list[sa.Column[Any]]:
    return [
        sa.Column("body", sa.String(), nullable=False, server_default="cloudevents"),
        sa.Column("header_names", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("headers_ciphertext", sa.Text(), nullable=True),
        sa.Column("previous_secret_ciphertext", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resting_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
    ]


def _of_deliveries() -> list[sa.Column[Any]]:
    return [
        sa.Column("put_aside", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("response_text", sa.Text(), nullable=True),
    ]


def upgrade() -> None:
    for column in _of_webhooks():
        op.add_column("webhooks", column)
    for column in _of_deliveries():
        op.add_column("webhook_deliveries", column)
    op.execute("UPDATE webhook_deliveries SET put_aside = attempts WHERE status = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["next_attempt_at", "webhook_id"],
        sqlite_where=IS_PENDING,
        postgresql_where=IS_PENDING,
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_deliveries_pending", "webhook_deliveries")
    for column in reversed(_of_deliveries()):
        op.drop_column("webhook_deliveries", column.name)
    for column in reversed(_of_webhooks()):
        op.drop_column("webhooks", column.name)
