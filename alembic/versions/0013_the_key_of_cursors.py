"""The key that encrypts the cursors of lists.

Revision: 0013
"""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY_OCTETS = 64


def upgrade() -> None:
    table = op.create_table(
        "cursor_keys",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_plain_position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cursor_keys")),
    )
    feed = sa.table("feed", sa.column("last_position"))
    last_position = op.get_bind().execute(sa.select(feed.c.last_position)).scalar_one()
    op.get_bind().execute(
        table.insert().values(
            id=1,
            key=secrets.token_bytes(KEY_OCTETS),
            made_at=datetime.now(UTC),
            last_plain_position=last_position,
        )
    )


def downgrade() -> None:
    # Cursors that were encrypted are then refused: clients list afresh.
    op.drop_table("cursor_keys")
