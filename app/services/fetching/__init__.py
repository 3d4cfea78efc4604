"""Fetching: mail from the server into the database, then into the processed folder."""
