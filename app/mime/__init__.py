"""Converts between the bytes of a mail and its content. Pure: no I/O, no database. Bad mail gives defects, never errors."""
