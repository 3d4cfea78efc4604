"""The schema that tests run on: what the migrations make."""

from app import migrations


def migrate(database_url: str) -> None:
    """Run all migrations; no connection stays open."""
    migrations.upgrade(database_url)
