"""What the gateway does. This package consists of rooms; each room owns the queries of its tables.

    connectors/   The settings of a mailbox: create, change, pause, delete; try a login; the one-time link by which an
                  owner enters the password.
    discovery/    The mail servers of an address, found from the address alone; the facts about providers.
    fetching/     Mail from the server into the database: start the mailboxes that are due (`sweep`), one run
                  (`fetch_cycle`), the parts of a run, how a run ends (`outcomes`), when the next one is due: how often
                  a mailbox is polled, and the back-off of a failing one (`schedule`), the history of runs, the
                  quarantine.
    messages/     Stored mail: how it becomes a message (`arrivals`), what the filters of a list select (`selection`; the
                  query parameters themselves are in `app/schemas/messages.py`, words in `search_text`) and in which order
                  it is shown (`ordering`), counting, reading, reading
                  anew after an upgrade (`rereading`), the states `new` and `processed`, deletion by command and by
                  retention. What a mail itself says of its kind (written by a machine, a report of a bounce) is read
                  in `app/mime/automatic.py`; `arrivals` is the place that acts on it.
    sending/      Mail from the database to the server: requests to send (`submissions`), the attempts (`sender`), how
                  an attempt ends (`outcomes`), the copy in the mailbox's folder of sent mail.
    events/       What other systems learn: the table of events (`outbox`), reading it (`feed`), webhooks and their
                  deliveries, and the people who handle a connector's mail (`recipients`).
    mailboxes/    The mailbox behind a connector: the stored credentials, a logged-in session, finding a folder.
    access/       Who may do what (`rules`), how a caller is known (`callers`, `api_keys`), key grants, group bindings,
                  the audit trail.
    logins            Refused logins of one password, over IMAP and SMTP: counted together, then the connector stops.
    secret_binding    Binding passwords that an older version stored to the servers that they are for.
    health            Whether the gateway is alive and ready.
    cursors           What callers get for a position in a list: encrypted, for that list alone.
    pages             Lists by pages: the position and the limit.
    secret_rotation   Encrypting the stored secrets anew with the first secret key.

A room imports from the rooms after it, never from those before it:

    connectors → fetching → sending → messages → events | mailboxes → access → cursors → pages

`messages` and `sending` do not know each other, nor do `events` and `mailboxes`. import-linter keeps this order.
"""
