"""What to do for each reason of the quarantine. What happened stands in `app/services/fetching/quarantine.py`."""

TO_DO = {
    "too_large": "Raise `GATEWAY_MAX_MESSAGE_OCTETS`, then retry; or move the mail away by hand.",
    "unreadable": "Retry once. If it fails again, move the mail away by hand and report the server's name and version.",
    "vanished": "Look at the mailbox with another program: the server's index may need a repair.",
    "size_mismatch": "Retry. If it fails again, the server's index may need a repair.",
    "connection_lost": "Retry when the server works again.",
    "timeout": "Retry when the server works again, or raise `GATEWAY_COMMAND_TIMEOUT_S`.",
    "command_refused": "Look at the mail with another program: its file on the server may be damaged.",
    "store_failed": "Look into the log at this time, then retry.",
    "process_died": "Retry. If it fails again, report it: one mail should not be able to end the process.",
}
