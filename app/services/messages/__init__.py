"""Messages: mail that is stored."""
