"""Reports of mail that was not delivered find their submission by its Message-ID.

Revision: 0017
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_submissions_message_id_header"), "submissions", ["message_id_header"])


def downgrade() -> None:
    # The reader of before knows no such status. That the mail was not delivered still stands in `detail`.
    op.execute("UPDATE submission_recipients SET status = 'refused' WHERE status = 'bounced'")
    op.drop_index(op.f("ix_submissions_message_id_header"), "submissions")
