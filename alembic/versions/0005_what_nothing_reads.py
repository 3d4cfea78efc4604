"""Columns that were only written, and an index that no query uses, are gone.

Who entered a password, and who made a link and when, is in the audit trail.

Revision: 0005
"""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = (
    ("credentials", "entered_by"),
    ("credentials", "updated_at"),
    ("credential_links", "created_by"),
    ("credential_links", "created_at"),
    ("server_messages", "move_attempts"),
    ("submissions", "attempt_started_at"),
)


def upgrade() -> None:
    op.drop_index("ix_messages_connector_id_sha256", table_name="messages")
    # Not in a batch: SQLite would then copy the table, and dropping the old one deletes what refers to it.
    for table, column in COLUMNS:
        op.drop_column(table, column)


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.add_column(table, _column_before(column))
    # Revision 0002 reads here which connectors are sealed.
    op.execute(
        "UPDATE credentials SET (entered_by, updated_at) ="
        " (SELECT 'user:' || owner, sealed_at FROM connectors WHERE id = connector_id)"
        " WHERE connector_id IN (SELECT id FROM connectors WHERE sealed_at IS NOT NULL AND owner IS NOT NULL)"
    )
    op.create_index("ix_messages_connector_id_sha256", "messages", ["connector_id", "sha256"])


def _column_before(name: str) -> sa.Column[object]:
    if name.endswith("_by"):
        return sa.Column(name, sa.String(), nullable=False, server_default="")
    if name == "move_attempts":
        return sa.Column(name, sa.Integer(), nullable=False, server_default="0")
    if name == "attempt_started_at":
        return sa.Column(name, sa.DateTime(timezone=True), nullable=True)
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default="1970-01-01 00:00:00+00:00"
    )
