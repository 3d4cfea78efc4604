"""Refused logins over SMTP, and whether sending waits or is stopped.

Revision: 0008
"""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Until now refused logins over SMTP were not remembered, and a stopped connector sent nothing either.
STOPPED = """
UPDATE connectors
SET sending_status = 'stopped', sending_error_code = last_error_code, sending_error_detail = last_error_detail,
    sending_error_at = last_error_at
WHERE status = 'stopped' AND last_error_code = 'login_refused'
"""
# A cycle that ended well since the last change of settings or password has logged in with this password.
LOGGED_IN = """
UPDATE connectors SET imap_logged_in_at = last_success_at WHERE refused_logins = 0 AND last_success_at >= updated_at
"""


# Not in a batch: on SQLite that may make the table anew, and what refers to its rows would go with the old one.


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("imap_logged_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sending_status", sa.String(), nullable=False, server_default="active"),
        sa.Column("sending_refused_logins", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("sending_failed_attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("sending_error_code", sa.String(), nullable=True),
        sa.Column("sending_error_detail", sa.String(), nullable=True),
        sa.Column("sending_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sending_next_attempt_at", sa.DateTime(timezone=True), nullable=True),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column("connectors", column)
    op.execute(STOPPED)
    op.execute(LOGGED_IN)


def downgrade() -> None:
    for column in reversed(_columns()):
        op.drop_column("connectors", column.name)
