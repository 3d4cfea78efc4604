"""Connectors: the stored settings of mailboxes, and tests of these settings."""
