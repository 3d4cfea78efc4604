"""What the mail server said of a connector's last error.

Revision: 0009
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("connectors") as table:
        table.add_column(sa.Column("last_error_server_text", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("connectors") as table:
        table.drop_column("last_error_server_text")
