"""Who calls, what callers may do, and the record of what they did.

rules           Which roles may do which action, and which connectors a caller sees.
callers         Finds the caller of a request, by a token or an API key; looks at those who wait again.
stream_tickets  Tickets that open the event stream for a page.
api_keys        API keys: made, recognised, revoked.
key_grants      The owner of a personal mailbox lets an API key read it.
group_bindings  The groups that handle the mail of a shared connector.
audit           The audit trail.
"""
