"""What was asked to be sent is kept, with the reason of a refusal.

Revision: 0015
"""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
COLUMNS: dict[str, dict[str, sa.types.TypeEngine[Any]]] = {
    "submissions": {
        "conversation_id": sa.String(),
        "dated_at": TIME,
        "queued_at": TIME,
        "error_code": sa.String(),
        "error_detail": sa.Text(),
        "error_enhanced_status": sa.String(),
        "error_server_text": sa.Text(),
    },
    "connectors": {
        "delete_sent_after_days": sa.Integer(),
        "delete_failed_after_days": sa.Integer(),
        "from_name": sa.String(),
    },
}


# Not in a batch: SQLite would make the table anew, and dropping the old one deletes what refers to it.


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_index(op.f("ix_submissions_conversation_id"), "submissions", ["conversation_id"])
    op.create_table(
        "submission_bodies",
        sa.Column("submission_id", sa.String(), nullable=False),
        sa.Column("to", sa.JSON(), nullable=False),
        sa.Column("cc", sa.JSON(), nullable=False),
        sa.Column("bcc", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_submission_bodies_submission_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_submission_bodies")),
    )


def downgrade() -> None:
    op.drop_table("submission_bodies")
    op.drop_index(op.f("ix_submissions_conversation_id"), "submissions")
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
