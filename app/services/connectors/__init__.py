"""Connectors: the stored settings of mailboxes, and what is tried with them."""
