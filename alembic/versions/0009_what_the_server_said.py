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
    op.add_column("connectors", sa.Column("last_error_server_text", sa.Text(), nullable=True))


def downgrade() -> None:
    # Not in a batch: SQLite would make the table anew, and dropping the old one deletes what refers to it.
    op.drop_column("connectors", "last_error_server_text")
