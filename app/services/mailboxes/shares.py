"""Finds out whose share of the threads the work for a connector uses."""


def holder(owner: str | None, server: str) -> str:
    """The owner of a personal connector. A shared connector has no owner, so it uses the share of its server."""
    return f"owner:{owner}" if owner is not None else f"server:{server}"
