"""Links for entering a password."""

from app.schemas.fields import Output, Time


class CredentialLinkCreated(Output):
    url: str
    """To be given to the owner of the mailbox, and to nobody else; shown this once."""
    expires_at: Time
