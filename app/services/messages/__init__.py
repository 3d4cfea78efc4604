"""Messages: stored mail."""
