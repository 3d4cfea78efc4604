"""Indexes for lists that begin with the newest message.

Revision: 0016
"""

import sqlalchemy as sa

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

RECEIVED_AT = sa.text("coalesce(internal_date, stored_at)")


def upgrade() -> None:
    op.create_index("ix_messages_received", "messages", [RECEIVED_AT, "id"])
    op.create_index("ix_messages_connector_received", "messages", ["connector_id", RECEIVED_AT, "id"])


def downgrade() -> None:
    op.drop_index("ix_messages_connector_received", "messages")
    op.drop_index("ix_messages_received", "messages")
