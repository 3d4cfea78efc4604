"""The IMAP gateway: receives, keeps, moves, announces and sends the e-mail of an application."""

__version__ = "0.1.0"
