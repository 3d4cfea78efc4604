"""Whose share of the threads the work for a connector takes."""


def holder(owner: str | None, server: str) -> str:
    """The owner of a personal connector; a shared one has none, and takes the share of its server."""
    return f"owner:{owner}" if owner is not None else f"server:{server}"
