"""Connectors: the stored settings of mailboxes, and tests of these settings.

connectors        Creates, lists, changes, pauses and deletes connectors; `detailed` is a connector as a caller sees it.
changes           The consequences of a change of settings.
settings          Converts settings between the row and the shapes of the API.
external_ids      The callers' own names for connectors.
passwords         Enters and discards a password; `credential_links` does so by a link, without an account.
status            Whether a connector fetches, and what it waits for.
checks            Tests servers, login and folders.
addresses         Refuses servers to which this installation never connects.
"""
