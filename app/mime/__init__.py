"""Bytes of a mail ↔ what it says. Pure: no I/O, no database, and bad mail is described, never raised."""
