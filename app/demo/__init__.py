"""`imap-gateway demo`: the gateway beside a mail server of its own, and what happens when mail arrives."""

from app.demo.run import run

__all__ = ["run"]
