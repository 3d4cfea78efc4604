"""Connectors: the stored settings of mailboxes, and tests of these settings.

`connectors` creates, lists, changes, pauses and deletes; `changes` has the consequences of a change, `passwords` the
entering of a password, `credential_links` the same by a link, without an account. `settings` translates between row and
shape, `status` decides what a connector waits for, `checks` tries a login, `addresses` refuses servers that this
installation never connects to.
"""
