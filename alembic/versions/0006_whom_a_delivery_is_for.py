"""For whom a delivery was queued. What is queued already belongs to the principal for whom its webhook acts.

Revision: 0006
"""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("webhook_deliveries") as table:
        table.add_column(sa.Column("queued_for", sa.String(), nullable=True))
    op.execute(
        "UPDATE webhook_deliveries SET queued_for ="
        " (SELECT acts_for FROM webhooks WHERE webhooks.id = webhook_deliveries.webhook_id)"
    )
    with op.batch_alter_table("webhook_deliveries") as table:
        table.alter_column("queued_for", existing_type=sa.String(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("webhook_deliveries") as table:
        table.drop_column("queued_for")
