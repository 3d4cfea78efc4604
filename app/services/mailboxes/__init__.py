"""Mailboxes: the credentials, sessions and folders of a connector."""
