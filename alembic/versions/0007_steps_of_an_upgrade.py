"""Which steps of an upgrade are done that need the keys, and who entered a password when.

Revision: 0007
"""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upgrade_steps",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_upgrade_steps")),
    )
    op.add_column("credentials", sa.Column("entered_by", sa.String(), nullable=True))
    op.add_column("credentials", sa.Column("entered_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("credentials", "entered_at")
    op.drop_column("credentials", "entered_by")
    op.drop_table("upgrade_steps")
