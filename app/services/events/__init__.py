"""Events: what other systems learn, by the feed and by webhooks."""
