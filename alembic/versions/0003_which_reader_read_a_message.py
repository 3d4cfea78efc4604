"""The reader that read a message; an index to find answers by the mail that they answer.

Revision: 0003
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The default is for instances of the previous version, which may still be storing mails.
    op.add_column("messages", sa.Column("reader", sa.Integer(), nullable=False, server_default="1"))
    op.create_index(op.f("ix_messages_reader"), "messages", ["reader"])
    op.create_index("ix_messages_in_reply_to", "messages", ["in_reply_to"], postgresql_using="hash")


def downgrade() -> None:
    op.drop_index("ix_messages_in_reply_to", table_name="messages")
    op.drop_index(op.f("ix_messages_reader"), table_name="messages")
    op.drop_column("messages", "reader")
