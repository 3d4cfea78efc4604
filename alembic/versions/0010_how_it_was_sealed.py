"""How a mailbox was sealed, since when it waits for its owner, and for which servers a submission was made.

Revision: 0010
"""

import hashlib
import json

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SERVERS = [
    f"{protocol}_{name}" for protocol in ("imap", "smtp") for name in ("host", "port", "security", "username")
]


def upgrade() -> None:
    op.add_column("connectors", sa.Column("sealed_by", sa.String(), nullable=True))
    op.add_column("connectors", sa.Column("awaits_owner_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("submissions", sa.Column("made_for", sa.String(), nullable=True))
    _bind_to_present_servers()


def downgrade() -> None:
    op.drop_column("submissions", "made_for")
    op.drop_column("connectors", "awaits_owner_since")
    op.drop_column("connectors", "sealed_by")


def _bind_to_present_servers() -> None:
    """What is not finished is for the servers that its connector has now."""
    connectors = sa.table("connectors", sa.column("id"), *(sa.column(name) for name in SERVERS))
    submissions = sa.table(
        "submissions", *map(sa.column, ("connector_id", "status", "next_attempt_at", "made_for"))
    )
    waiting = sa.select(submissions.c.connector_id).where(submissions.c.next_attempt_at.is_not(None))
    connection = op.get_bind()
    rows = connection.execute(sa.select(connectors).where(connectors.c.id.in_(waiting))).all()
    for connector_id, *servers in rows:
        text = json.dumps([servers[:4], servers[4:]])
        connection.execute(
            sa.update(submissions)
            .where(submissions.c.connector_id == connector_id, submissions.c.next_attempt_at.is_not(None))
            .values(made_for=hashlib.sha256(text.encode()).hexdigest())
        )
