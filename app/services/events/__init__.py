"""Events: how other systems learn what happens, by the feed and by webhooks.

outbox           The table of events, in commit order.
feed             Reads it, for callers who poll or stream; `places` says where a caller is in it.
looking          One look at the feed for all requests that wait for it.
webhooks         The receivers and their settings; `webhook_secrets` has their secrets and headers.
queueing         Chooses the events of a webhook.
deliveries       Delivers them; `attempts` says what happens after an attempt, and has the back-off.
recipients       The people who handle the mail of a connector.
"""
