"""Tickets for the event stream.

Revision: 0020
"""

import sqlalchemy as sa

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_tickets",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stream_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_stream_tickets")),
    )
    for column in ("caller", "expires_at"):
        op.create_index(f"ix_stream_tickets_{column}", "stream_tickets", [column])


def downgrade() -> None:
    op.drop_table("stream_tickets")
