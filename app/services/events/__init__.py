"""Events: how other systems learn what happens, by the feed and by webhooks."""
