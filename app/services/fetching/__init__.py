"""Fetching: brings mail from the server into the database, and then moves it to the processed folder.

`sweep` starts the mailboxes that are due, `fetch_cycle` is one run. Its parts: `leases` (one run at a time for a mailbox),
`intake` and `downloads` (fetch a batch), `storing` (message, ledger row and event in one transaction), `ledger` (which mails
are known), `room` (whether more mail may be kept), `moving` with `copies` and `departures` (move it, and prove it), `move_loops`
(mail that comes back again and again), `quarantine` (mail that cannot be taken in). Its end: `tally`, `outcomes` (the status
of the connector), `schedule` (when the next run is due: poll interval and back-off), `history` (runs, and a run on demand).
"""
