"""How much a connector sends, from which addresses, and who files the copies.

Revision: 0018
"""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Sent mail counts in the limits from the first attempt on, as far as that was stored.
ATTEMPTED = "UPDATE submissions SET attempted_at = dated_at WHERE status <> 'cancelled'"


# Not in a batch: on SQLite that may make the table anew, and what refers to its rows would go with the old one.


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("smtp_rate_per_minute", sa.Integer(), nullable=True),
        sa.Column("smtp_rate_per_day", sa.Integer(), nullable=True),
        sa.Column("smtp_file_sent", sa.String(), nullable=False, server_default="auto"),
        sa.Column("provider_files_sent", sa.Boolean(), nullable=True),
        sa.Column("aliases", sa.JSON(), nullable=False, server_default="[]"),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("connectors", column)
    op.add_column("submissions", sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_submissions_attempted", "submissions", ["connector_id", "attempted_at"])
    op.execute(ATTEMPTED)


def downgrade() -> None:
    op.drop_index("ix_submissions_attempted", "submissions")
    op.drop_column("submissions", "attempted_at")
    for column in reversed(_columns()):
        op.drop_column("connectors", column.name)
