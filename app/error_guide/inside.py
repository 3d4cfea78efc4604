"""The codes of the gateway itself."""

from app.error_guide.entry import Entry

ENTRIES = {
    "internal_error": Entry(
        "The gateway has a fault. The answer gives no more details.",
        "Report the `request_id`; the log holds the type and the place of the error under this id.",
    ),
    "parser_busy": Entry(
        "All parser processes are busy, so the mail could not be read in time.",
        "Repeat the request after `Retry-After`. If it happens again, raise `GATEWAY_FETCH_THREADS`.",
    ),
    "secret_unreadable": Entry(
        "No configured key decrypts the stored credentials.",
        "Put the key back into `GATEWAY_SECRET_KEYS`, or enter the credentials again.",
    ),
    "no_room": Entry(
        "No more mail can be kept at the moment. It stays on the mail server.",
        "Look at the connector's `last_error` for the reason.",
    ),
    "quota_reached": Entry(
        "The connector keeps as much mail as one may: `GATEWAY_CONNECTOR_QUOTA_OCTETS`. New mail stays on the mail server. A"
        " new submission gets this error if sent and waiting mail alone fills the quota.",
        "Delete messages, set a retention, or ask the operator to raise the quota. Fetching goes on by itself within a"
        " minute or two.",
    ),
    "disk_nearly_full": Entry(
        "The disk of the gateway's SQLite database has less free space than `GATEWAY_FREE_DISK_OCTETS`. Nothing is fetched,"
        " new mail stays on the mail servers, and new submissions are refused.",
        "Free some space. Fetching goes on by itself within a minute or two.",
    ),
    "store_unavailable": Entry(
        "The gateway's database is locked, full, restarting or unreachable.",
        "Wait; nothing was lost. The operator should look at the database and its disk.",
    ),
    "value_refused": Entry(
        "The gateway's database does not accept one of the values: it is too large, or it is not text.",
        "Send less, or other characters. If you do not know which value it is, report the `request_id`.",
    ),
    "store_in_use": Entry(
        "`serve` refuses to start: another process serves from the same SQLite file.",
        "Stop the other process, or set `GATEWAY_RUN_JOBS=false` for one of the two, or use PostgreSQL.",
    ),
    "settings_incomplete": Entry(
        "The process refuses to start: a setting is missing, wrong or misspelt. The message names it.",
        "Correct the setting: docs/operating.md lists them.",
    ),
    "lease_lost": Entry(
        "Another instance took over the mailbox while this one was fetching from it.",
        "Do nothing: the other instance continues. If it happens again, raise `GATEWAY_LEASE_S`.",
    ),
    "settings_changed": Entry(
        "The connector was changed while its cycle was running, so the cycle stopped.",
        "Do nothing: the next cycle uses the new settings.",
    ),
}
