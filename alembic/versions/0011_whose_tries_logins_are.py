"""When SMTP accepted the present password, and who made a link.

Revision: 0011
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connectors", sa.Column("smtp_logged_in_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("credential_links", sa.Column("created_by", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("credential_links", "created_by")
    op.drop_column("connectors", "smtp_logged_in_at")
