"""The commands that set up a gateway from elsewhere. They speak HTTP with it, like every other caller, and know nothing of its
database.

`commands` is the command line, `gateway_client` one gateway over HTTP, `connector_file` the file of `imap-gateway apply`.
"""
