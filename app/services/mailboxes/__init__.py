"""Mailboxes: credentials, sessions and folders behind a connector."""
