"""The mail server's own words of a connector's last errors.

Revision: 0009
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


COLUMNS = ("last_error_server_text", "sending_error_server_text")


# Not in a batch: SQLite would make the table anew, and dropping the old one deletes what refers to it.


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("connectors", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("connectors", name)
