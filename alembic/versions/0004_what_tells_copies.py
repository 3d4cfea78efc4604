"""The announced size of a mail, the number of searches for its copy, and failures that are not proved yet.

Revision: 0004
"""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("server_messages") as table:
        table.add_column(sa.Column("announced_octets", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("looks", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("quarantine") as table:
        table.add_column(sa.Column("is_unproved", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("quarantine") as table:
        table.drop_column("is_unproved")
    with op.batch_alter_table("server_messages") as table:
        table.drop_column("looks")
        table.drop_column("announced_octets")
