"""Only a connector that has logged in keeps others out of its mailbox's folder, and external ids have scopes.

Those that have worked with their present mailbox, and have a password that has not been refused, count as logged in since
their last success. No two of them have the same folder, because until now no two connectors could. External ids of before stay unique in the installation; their owners still find them.

Revision: 0012
"""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MAILBOX = ["imap_host", "imap_port", "imap_username", "source_folder"]
OLD_MAILBOX = "uq_connectors_imap_host_imap_port_imap_username_source_folder"
OLD_EXTERNAL_ID = "uq_connectors_external_id"
# A change of mailbox or folder makes `baseline_at` null, and every change is newer than the last success.
HAVE_WORKED = """
UPDATE connectors SET logged_in_at = last_success_at
WHERE (baseline_at IS NOT NULL OR last_success_at >= updated_at)
AND id IN (SELECT connector_id FROM credentials)
AND NOT (status = 'stopped' AND COALESCE(last_error_code, '') IN ('login_refused', 'application_password_needed'))
"""
HAS_LOGGED_IN = sa.text("logged_in_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("connectors", sa.Column("logged_in_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connectors", sa.Column("external_scope", sa.String(), nullable=False, server_default=""))
    op.execute(HAVE_WORKED)
    _require_that_nothing_cascades()
    with op.batch_alter_table("connectors") as batch:
        batch.drop_constraint(OLD_MAILBOX, type_="unique")
        batch.drop_constraint(OLD_EXTERNAL_ID, type_="unique")
    op.create_index(
        "uq_connectors_mailbox",
        "connectors",
        MAILBOX,
        unique=True,
        sqlite_where=HAS_LOGGED_IN,
        postgresql_where=HAS_LOGGED_IN,
    )
    op.create_index("uq_connectors_external_id", "connectors", ["external_id", "external_scope"], unique=True)


def downgrade() -> None:
    """Fails, and changes nothing, if two connectors now have one mailbox's folder or external id: somebody has to choose."""
    op.drop_index("uq_connectors_external_id", "connectors")
    op.drop_index("uq_connectors_mailbox", "connectors")
    _require_that_nothing_cascades()
    with op.batch_alter_table("connectors") as batch:
        batch.create_unique_constraint(OLD_MAILBOX, MAILBOX)
        batch.create_unique_constraint(OLD_EXTERNAL_ID, ["external_id"])
    op.drop_column("connectors", "external_scope")
    op.drop_column("connectors", "logged_in_at")


def _require_that_nothing_cascades() -> None:
    """SQLite drops a constraint only by making the table anew. With foreign keys on, dropping the old table would delete all
    that refers to its rows."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    if connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() != 0:
        raise RuntimeError("foreign keys are on")
