"""Bodies to copy, for each operation that takes one. They harm nobody who sends them as they are: hosts and addresses are
reserved for examples (RFC 2606), nothing is deleted but what they name, and no mailbox is asked every second.

A test sends each of them to the gateway, with the ids of real objects in place of those of `ID`.
"""

from typing import Any

Examples = dict[str, dict[str, Any]]

ID = {
    "connector_id": "0199a1b2c3d47e5f8a6b7c8d9e0f1a2b",
    "message_id": "0199a1b2c4e57f608b7c8d9e0f1a2b3c",
    "request_id": "0199a1b2c5f670718c8d9e0f1a2b3c4d",
}
_IMAP = {"host": "imap.example.com", "username": "orders@example.com"}
_SMTP = {"host": "smtp.example.com", "username": "orders@example.com"}
_PASSWORD = {"type": "password", "password": "the password of the mailbox"}
_SHARED = {
    "name": "Orders",
    "kind": "shared",
    "email_address": "orders@example.com",
    "imap": _IMAP,
    "smtp": _SMTP,
    "credentials": _PASSWORD,
}
_PERSONAL = {
    "name": "Jana Nováková",
    "kind": "personal",
    "owner": "jana",
    "email_address": "jana.novakova@example.com",
    "imap": {"host": "imap.example.com", "security": "starttls", "username": "jana.novakova@example.com"},
}
_CONNECTORS: Examples = {
    "shared": {"summary": "A shared mailbox that receives and sends", "value": _SHARED},
    "personal": {"summary": "A personal mailbox: its owner enters the password", "value": _PERSONAL},
}

EXAMPLES: dict[str, Examples] = {
    "create_connector": _CONNECTORS,
    "put_connector": _CONNECTORS,
    "discover_servers": {
        "address": {"summary": "An address", "value": {"email_address": "orders@example.com"}},
    },
    "check_new_connector": {
        "both": {
            "summary": "Receiving and sending",
            "value": {"imap": _IMAP, "smtp": _SMTP, "credentials": _PASSWORD},
        },
    },
    "change_connector": {
        "rename": {
            "summary": "Another name, and a look every five minutes",
            "value": {"name": "Orders and invoices", "poll_interval_s": 300},
        },
        "keep": {
            "summary": "Keep processed mail for ever",
            "value": {"retention": {"delete_processed_after_days": None}},
        },
    },
    "enter_credentials": {"password": {"summary": "A password", "value": _PASSWORD}},
    "create_group_binding": {
        "bind": {
            "summary": "A group",
            "value": {"connector_id": ID["connector_id"], "group": "orders"},
        },
    },
    "change_group_binding": {"other": {"summary": "Another group", "value": {"group": "invoices"}}},
    "change_message": {"done": {"summary": "It is dealt with", "value": {"state": "processed"}}},
    "delete_messages": {
        "named": {"summary": "These messages", "value": {"ids": [ID["message_id"]]}},
        "old": {
            "summary": "What was dealt with long ago",
            "value": {
                "connector_id": ID["connector_id"],
                "state": "processed",
                "stored_before": "2020-01-01T00:00:00Z",
            },
        },
    },
    "retry_quarantined_mails": {
        "mailbox": {"summary": "All of one mailbox", "value": {"connector_id": ID["connector_id"]}},
    },
    "create_submission": {
        "new": {
            "summary": "A new mail",
            "value": {
                "connector_id": ID["connector_id"],
                "to": ["Eva Malá <eva@example.com>"],
                "subject": "Your order",
                "text": "Dear Eva,\n\nyour order is on its way.\n",
            },
        },
        "answer": {
            "summary": "An answer, after which the message is dealt with",
            "value": {
                "connector_id": ID["connector_id"],
                "to": ["eva@example.com"],
                "in_reply_to": ID["message_id"],
                "text": "Thank you, we have it.\n",
                "mark_processed": True,
            },
        },
        "attachment": {
            "summary": "With an attachment",
            "value": {
                "connector_id": ID["connector_id"],
                "to": ["eva@example.com"],
                "subject": "Invoice 17",
                "text": "The invoice is attached.\n",
                "attachments": [
                    {
                        "name": "invoice.txt",
                        "content_type": "text/plain",
                        "content_base64": "SW52b2ljZSAxNzogMTIwIEVVUgo=",
                    }
                ],
            },
        },
    },
    "create_webhook": {
        "new_mail": {
            "summary": "New mail, and mail that could not be sent",
            "value": {
                "url": "https://receiver.example/imap-events",
                "types": ["message.stored", "submission.failed"],
            },
        },
        "json": {
            "summary": "Everything, as plain JSON and with a header that the receiver asks for",
            "value": {
                "url": "https://receiver.example/imap-events",
                "body": "json",
                "headers": {"Authorization": "Bearer what-the-receiver-expects"},
            },
        },
    },
    "change_webhook": {
        "pause": {"summary": "Deliver nothing for now", "value": {"active": False}},
        "types": {"summary": "Only new mail", "value": {"types": ["message.stored"]}},
    },
    "rotate_webhook_secret": {
        "day": {"summary": "The previous secret signs for another day", "value": {"previous_valid_s": 86400}},
    },
    "replay_events": {"since": {"summary": "Since a time", "value": {"since": "2026-11-25T06:00:00Z"}}},
    "create_api_key": {
        "reader": {
            "summary": "A program that reads one mailbox and its events",
            "value": {
                "name": "CRM",
                "scopes": ["messages:read", "events:read"],
                "connector_ids": [ID["connector_id"]],
                "expires_at": "2036-01-01T00:00:00Z",
            },
        },
    },
}
"""For each operation, by its id: names, with a summary and the body."""
