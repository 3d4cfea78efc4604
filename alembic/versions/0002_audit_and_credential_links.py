"""The audit trail, links for entering a password, and the time when a connector was sealed.

Revision: 0002
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_records",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("connector_id", sa.String(), nullable=True),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
    )
    for column in ("at", "actor", "action", "subject", "connector_id"):
        op.create_index(op.f(f"ix_audit_records_{column}"), "audit_records", [column])
    op.create_table(
        "credential_links",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("connector_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refused_logins", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["connector_id"],
            ["connectors.id"],
            name=op.f("fk_credential_links_connector_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential_links")),
        sa.UniqueConstraint("sha256", name=op.f("uq_credential_links_sha256")),
    )
    for column in ("connector_id", "expires_at"):
        op.create_index(op.f(f"ix_credential_links_{column}"), "credential_links", [column])
    op.add_column("connectors", sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE connectors SET sealed_at = (SELECT updated_at FROM credentials WHERE connector_id = connectors.id"
        " AND entered_by = 'user:' || connectors.owner)"
    )


def downgrade() -> None:
    op.drop_column("connectors", "sealed_at")
    op.drop_table("credential_links")
    op.drop_table("audit_records")
