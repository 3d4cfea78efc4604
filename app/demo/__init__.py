"""`imap-gateway demo`: runs the gateway with a mail server of its own, and shows what happens when mail arrives."""

from app.demo.run import run

__all__ = ["run"]
