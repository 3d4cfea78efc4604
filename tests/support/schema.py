"""The schema that tests run on: what the migrations make."""

from app import clock, migrations
from app.db import Database
from app.models import UpgradeStep
from app.services.mailboxes import credentials


def migrate(database_url: str) -> None:
    """Run all migrations; no connection stays open."""
    migrations.upgrade(database_url)


def migrate_as_started(database_url: str) -> None:
    """Leave an empty database as the first start of a gateway leaves it; no connection stays open."""
    migrate(database_url)
    database = Database(database_url)
    with database.unit_of_work() as session:
        session.add(UpgradeStep(name=credentials.BINDING, done_at=clock.utc_now()))
    database.close()
