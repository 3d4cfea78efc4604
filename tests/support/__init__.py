"""What several tests stand on: callers, mailboxes, a running gateway."""
