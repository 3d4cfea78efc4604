"""Brings mail from the server into the database, and then moves it to the processed folder.

sweep        Starts the mailboxes that are due.
fetch_cycle  One run for one mailbox, with its states and invariants; `context` is what its parts share.
leases       One run at a time for a folder; `possession`: which connector has the folder.
intake       Fetches mail in batches, over `downloads` and `batches`.
storing      Message, ledger row and event in one transaction; `ledger`: which mails are known.
moving       Moves mail and proves the move, over `copies` and `departures`; `move_loops`: mail that comes back again and again.
quarantine   Mail that cannot be taken in.
outcomes     How a run ends: the status of the connector; `tally`: the counts of the run.
schedule     When the next run is due: the poll interval, and the back-off of a failing mailbox.
history      The history of runs, and a run by command.
"""
