"""Access: who calls, what callers may do, and the record of what they did."""
