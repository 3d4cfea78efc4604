"""Sending: mail from the database to the server."""
