"""What the gateway does. This package consists of rooms; each room owns the queries of its tables.

    connectors/   The settings of a mailbox: create, change, pause, delete; try a login; the one-time link by which an
                  owner enters the password.
    discovery/    The mail servers of an address, found from the address alone; the facts about providers.
    fetching/     Mail from the server into the database: start the mailboxes that are due (`sweep`), one run
                  (`fetch_cycle`), the parts of a run, and how a run ends (`outcomes`). `schedule` says how often a mailbox
                  is polled, and has the back-off of a failing one. The history of runs, and the quarantine.
    sending/      Mail from the database to the server: requests to send (`submissions`), the attempts (`sender`), how
                  an attempt ends (`outcomes`), the copy in the Sent folder of the mailbox.
    messages/     Stored mail: how it becomes a message (`arrivals`), the filters of a list (`selection`, with the words in
                  `search_text`; the query parameters are in `app/schemas/messages.py`), the order of a list (`ordering`),
                  counting, reading, reading again after an upgrade (`rereading`), the states `new` and `processed`,
                  deletion by command and by retention. `app/mime/automatic.py` finds out whether a machine wrote a mail,
                  or whether it reports a bounce; `arrivals` acts on it.
    events/       The events for other systems: their table (`outbox`), reading it (`feed`), webhooks and their
                  deliveries, and the people who handle a connector's mail (`recipients`).
    mailboxes/    The mailbox behind a connector: the stored credentials, a logged-in session, finding a folder.
    access/       Who may do what (`rules`), how a caller is known (`callers`, `api_keys`), key grants, group bindings,
                  the audit trail.
    logins            Counts the refused logins of a password, over IMAP and SMTP together, and stops the connector.
    secret_binding    Binds passwords that an older version stored to their mail servers.
    secret_rotation   Encrypts the stored secrets again with the first secret key.
    health            Whether the gateway is alive and ready.
    cursors           The cursors of lists: encrypted positions, each for one list.
    pages             Lists in pages: the position and the limit.

A room imports from the rooms after it, never from those before it:

    connectors → fetching → sending → messages → logins → events | mailboxes → access → cursors → pages

`events` and `mailboxes` do not import each other. import-linter keeps this order.
"""
