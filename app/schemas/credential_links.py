"""Links for entering a password."""

from app.schemas.fields import Output, Time


class CredentialLinkCreated(Output):
    url: str
    """Give this address to the owner of the mailbox and to nobody else. Only this answer shows it."""
    expires_at: Time
