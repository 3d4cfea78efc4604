"""A new installation never gave out cursors that are not encrypted, so it accepts none beyond the beginning of the feed.

Otherwise whoever makes such cursors could count the events of others in the first day.

Revision: 0021
"""

from datetime import UTC, datetime

import sqlalchemy as sa

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    connection = op.get_bind()
    keys = sa.table("cursor_keys", sa.column("made_at", sa.DateTime(timezone=True)))
    feed = sa.table("feed", sa.column("last_position"))
    is_used = connection.execute(sa.select(feed.c.last_position)).scalar_one() > 0
    is_set_up = connection.execute(sa.select(sa.exists().select_from(sa.table("connectors")))).scalar_one()
    if not is_used and not is_set_up:
        connection.execute(keys.update().values(made_at=LONG_AGO))


def downgrade() -> None:
    # That a key is old means only that the version before accepts fewer cursors, too.
    pass
