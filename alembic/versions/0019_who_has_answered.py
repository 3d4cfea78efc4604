"""What remains of deleted submissions, and answers that mark their message as processed.

Revision: 0019
"""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Not in a batch: SQLite would make the table anew, and dropping the old one deletes what refers to it.
    op.add_column(
        "submissions",
        sa.Column("marks_processed", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_table(
        "deleted_submissions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("connector_id", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("in_reply_to_message_id", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_submissions")),
    )
    for columns in (["created_by", "idempotency_key"], ["in_reply_to_message_id"], ["deleted_at"]):
        op.create_index(f"ix_deleted_submissions_{'_'.join(columns)}", "deleted_submissions", columns)


def downgrade() -> None:
    op.drop_table("deleted_submissions")
    op.drop_column("submissions", "marks_processed")
