"""Health of the service."""

from typing import Literal

from app.schemas.fields import Output


class Live(Output):
    status: Literal["live"] = "live"


class Ready(Output):
    ready: bool
    database: bool
    """Whether it answers."""
    migrations: bool
    """Whether the schema of the database is that of this version."""
    sweep: bool | None
    """Whether the job that starts fetch cycles has run within the last minute; null in a process without jobs."""
