"""The mailbox behind a connector.

credentials   The stored password, bound to its servers.
login_tries   To whom a login is counted, and the limits of refused logins.
sessions      The rules for sessions with mail servers.
folders       Finds the folder that a setting means.
opening       Opens the folders, for a fetch cycle and for a test.
shares        Whose share of the threads the work for a connector uses.
room          Whether more mail may be kept.
"""
