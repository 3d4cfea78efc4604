"""Fetching: brings mail from the server into the database, and then moves it to the processed folder."""
