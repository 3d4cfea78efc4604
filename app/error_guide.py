"""What each error code means for a caller: the page to which the `type` of a problem leads.

The gateway serves it as HTML at `/docs/errors`; `python -m tools.errors` writes it as Markdown into docs/errors.md. A
test requires an entry for each code, and no other entries.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from markupsafe import Markup, escape

from app import errors
from app.problems import status_of
from app.services.fetching import quarantine
from app.web_pages.page import framed


@dataclass(frozen=True)
class Entry:
    """What happened, and what to do. Words in backticks are code."""

    happened: str
    to_do: str


REQUESTS = {
    "unauthenticated": Entry(
        "The request has no token, or one that is wrong, expired or revoked. The answer is the same for all of them;"
        " the gateway's log says which (`token_refused`).",
        "Get a new token, or check the API key. If new tokens are refused too, compare clocks, issuer and audience.",
    ),
    "forbidden": Entry(
        "You may see this object, but your role towards it does not allow the action.",
        "Ask somebody who may do it: docs/access.md lists who may do what.",
    ),
    "scope_missing": Entry(
        "The API key lacks the scope that this route needs.",
        "Use a key with that scope. Scopes of a key cannot be changed: create another key.",
    ),
    "not_found": Entry(
        "There is no such object, or you may not see it. An unknown address answers this too.",
        "Check the id and the address. If both are correct, ask for access: a group binding, a key grant, another key.",
    ),
    "method_not_allowed": Entry(
        "The address exists, but does not take this HTTP method.",
        "Use a method that the interface lists for this address.",
    ),
    "conflict": Entry(
        "The object's present state does not allow the action.",
        "Read the object again, then decide what to do.",
    ),
    "already_exists": Entry(
        "An object with the same key exists already; for example, the group is bound to the connector.",
        "Use the existing object, or choose another key.",
    ),
    "mailbox_taken": Entry(
        "Another connector has logged in to this mailbox and fetches from this folder. Two that fetch from one folder would"
        " divide its mail among them. In an answer to a request: you may change that other connector. At a connector: it logged"
        " in later than the other one, moved nothing, and is stopped.",
        "Use the other connector or choose another folder. If the other one is not needed any more, delete it, then resume"
        " this one.",
    ),
    "precondition_failed": Entry(
        "The value of `If-Match` is not the object's present `ETag`: settings or credentials have changed since you read"
        " them.",
        "Read the object again and check what has changed. If your request is still correct, repeat it with the new `ETag`.",
    ),
    "cursor_gone": Entry(
        "The cursor is ahead of the feed, or the event at its position is another one: the gateway's database was restored"
        " from a backup. `cursors` holds two cursors of the same list: `oldest`, before everything that is kept, and"
        " `latest`, at the end.",
        "Go on with `cursors.oldest`, and ignore what you know already by its id. If you want only what happens from now on,"
        " go on with `cursors.latest`.",
    ),
    "wrong_state": Entry(
        "The state of the object does not allow this action; `detail` says what prevents it. For example, the connector is"
        " paused or has no credentials, or the submission is no longer queued.",
        "Bring the object into the state that `detail` names, then repeat the request.",
    ),
    "cycle_running": Entry(
        "Another fetch cycle of this mailbox is running and did not end within the time that a request waits.",
        "Wait and repeat the request. The running cycle takes new mail in as well.",
    ),
    "already_answered": Entry(
        "Somebody has answered this message, or their answer waits to be sent. Failed and cancelled answers do not count.",
        "Read `answers` of the message. To answer it all the same, repeat the request with `also: true`.",
    ),
    "idempotency_key_spent": Entry(
        "A submission was made with this `Idempotency-Key`, and has been deleted since, by somebody or by retention.",
        "If the mail is to be sent again, send the request with a new key.",
    ),
    "answer_to_automatic_mail": Entry(
        "`auto_submitted` marks the answer as written by a program, and the message that it answers was written by one too"
        " (`is_auto_reply`).",
        "Do not answer such messages by program. A person may: without `auto_submitted` the answer is accepted.",
    ),
    "submissions_queued": Entry(
        "The connector cannot be deleted, because mail waits to be sent from it.",
        "Repeat the request with `?submissions=cancel`: each ends as cancelled, with the event `submission.failed`. Or wait"
        " until it is sent.",
    ),
    "messages_stored": Entry(
        "The connector cannot be deleted alone, because its messages are stored.",
        "Repeat the request with `?messages=delete` to delete the messages too, or pause the connector instead.",
    ),
    "idempotency_mismatch": Entry(
        "The `Idempotency-Key` was used before with a request that differs from this one.",
        "Use a new key for a new request; repeat a request unchanged with its key.",
    ),
    "attachment_unreadable": Entry(
        "The attachment cannot be taken out of the mail: the reader failed.",
        "Get the source of the mail with `GET /messages/{id}/source`. It holds every byte.",
    ),
    "request_too_slow": Entry(
        "The body did not arrive in time: there was a pause of 20 seconds, or it came more slowly than 4 kB a second.",
        "Send it again over a better line.",
    ),
    "too_large": Entry(
        "The body is larger than the limit: `GATEWAY_MAX_REQUEST_OCTETS` for a submission, 1 MiB elsewhere. Or it is JSON"
        " with more than 50,000 values.",
        "Send less, or ask the operator to raise the limit for submissions.",
    ),
    "invalid_input": Entry(
        "The input breaks a rule, or contains an unknown name. `errors` lists each fault with a JSON Pointer to the"
        " field.",
        "Correct the fields that `errors` names. The same input will be refused again.",
    ),
    "too_many_requests": Entry(
        "You tried logins, made links or fetched by command more often in a minute than the gateway allows, or you have"
        " more requests of one kind open at once than one caller may have. docs/operating.md lists these limits.",
        "Wait for the number of seconds in `Retry-After`, and start fewer requests at the same time.",
    ),
    "too_many_refused_logins": Entry(
        "Mail servers have refused as many logins in a minute as one caller may cause at one mailbox, or at all mailboxes, with"
        " passwords that have never worked. The mail server was not asked this time. It does not matter by which"
        " route the passwords were tried: tests, fetches, sending and the gateway's own fetching count together. Shown at a"
        " connector (`last_error`), it waits, and then tries by itself.",
        "Wait for the number of seconds in `Retry-After`. Check the password before you try it again.",
    ),
    "too_many_connectors": Entry(
        "You have as many personal mailboxes connected as one user may (`GATEWAY_CONNECTORS_PER_OWNER`). What administrators and"
        " API keys connect is not limited.",
        "Delete a connector that you do not need, or ask an administrator.",
    ),
    "too_many_links": Entry(
        "As many links for entering a password that you have made are still unused as one caller may have"
        " (`GATEWAY_LINKS_PER_CALLER`). A link is valid for a day.",
        "Withdraw links that nobody needs (`DELETE /connectors/{id}/credential-links`), or wait.",
    ),
    "overloaded": Entry(
        "The gateway already handles as many requests of this kind as it may at once, for example requests that wait for"
        " one mail server. Often the reason is a server that answers slowly.",
        "Wait for the number of seconds in `Retry-After`, then repeat the request.",
    ),
}

MAIL_SERVERS = {
    "mail_server_error": Entry(
        "The mail server could not be used, for a reason that has no code of its own.",
        "Look for the request id in the gateway's log.",
    ),
    "mail_server_rejected": Entry(
        "The mail server understood a request and refused it.",
        "Look for the request id in the gateway's log; the line holds the server's response code.",
    ),
    "login_refused": Entry(
        "The mail server refused the user name or the password. After two refusals of one password, over IMAP, SMTP and"
        " tests together, the connector is `stopped`, so that the account is not locked. Where only SMTP refuses it,"
        " only sending stops.",
        "Enter the credentials again. Some providers require a password for applications, or you must first switch IMAP on.",
    ),
    "application_password_needed": Entry(
        "The provider requires a password for applications. Google, Yahoo and Apple do so if two-step verification is on."
        " It counts as a refused password.",
        "Create such a password in the account's security settings at the provider, and enter it.",
    ),
    "password_expired": Entry(
        "The password was correct, but it has expired (`EXPIRED`, RFC 5530).",
        "Choose a new password at the provider, and enter it.",
    ),
    "privacy_required": Entry(
        "The mail server accepts no password on this connection, because it is not encrypted (`PRIVACYREQUIRED`, RFC 5530).",
        "Set `security` to `tls` or `starttls`.",
    ),
    "administrator_needed": Entry(
        "The mail server says that its administrator must do something about this account (`CONTACTADMIN`, RFC 5530).",
        "Ask the mail server's administrator or the provider's support.",
    ),
    "authorization_failed": Entry(
        "The mail server accepted the password, but the user may not open this mailbox (`AUTHORIZATIONFAILED`, RFC 5530).",
        "Check the user name: for shared mailboxes it often has the form `user\\mailbox`. Otherwise ask for access to the"
        " mailbox.",
    ),
    "access_denied": Entry(
        "The mail server does not allow this account to use the mailbox (`NOPERM`, RFC 5530).",
        "Ask the mail server's administrator for access.",
    ),
    "imap_switched_off": Entry(
        "IMAP is switched off for this account, or for its domain.",
        "Switch IMAP on in the account's settings at the provider, or ask the domain's administrator.",
    ),
    "smtp_switched_off": Entry(
        "Sending over SMTP is switched off for this account, or for its organisation. Fetching is not affected.",
        "Switch SMTP on for the mailbox. At Microsoft 365 the setting is `Authenticated SMTP`.",
    ),
    "web_login_needed": Entry(
        "The provider has noticed something unusual and asks the owner to log in on its web page.",
        "Log in on the provider's web page and confirm that it was you. The gateway tries again by itself.",
    ),
    "password_login_switched_off": Entry(
        "The provider does not allow logins with a password over IMAP or SMTP.",
        "Ask the organisation's administrator whether an exception for the mailbox is possible.",
    ),
    "no_login_method": Entry(
        "The mail server offers neither LOGIN nor PLAIN, the methods for sending a password.",
        "Set `security` to `tls`: many servers offer these methods only on encrypted connections. If that does not help, the"
        " server must allow them.",
    ),
    "login_not_possible": Entry(
        "The mail server refused the login for a reason other than the user name or password.",
        "Look into the gateway's log: it holds the server's response code.",
    ),
    "source_folder_missing": Entry(
        "The folder to download from does not exist on the mail server.",
        "Choose one of `GET /connectors/{id}/folders`, or create the folder.",
    ),
    "processed_folder_missing": Entry(
        "The folder to move processed mail to does not exist on the mail server.",
        "Choose one of `GET /connectors/{id}/folders`, or create the folder. Mail stays where it is until then.",
    ),
    "same_folder": Entry(
        "The folder to download from and the folder to move to are the same, or several connectors move mail in a"
        " circle.",
        "Choose another folder as the processed folder.",
    ),
    "folder_not_selectable": Entry(
        "The folder exists, but the mail server does not open it: it refuses, or keeps only other folders in it. `detail`"
        " says which of the two folders it is, `server_text` what the server said.",
        "Choose another one of `GET /connectors/{id}/folders`. If the server refuses INBOX, do what `server_text` says.",
    ),
    "folder_forbidden": Entry(
        "The server does not allow this account to open the source folder (`NOPERM`, RFC 5530).",
        "Ask the folder's owner or the mail server's administrator for the right to read and delete in it.",
    ),
    "folder_read_only": Entry(
        "The server opens the source folder as read-only, so the gateway could not move mail out of it.",
        "Give the account the right to delete in that folder, or choose another folder.",
    ),
    "no_right_to_move": Entry(
        "The server does not allow this account to move mail out of the source folder.",
        "Give the account the rights to delete and to expunge in that folder, or choose another folder.",
    ),
    "copy_not_removed": Entry(
        "The server copies mail to the processed folder and does not remove it from the source folder. The second time, the"
        " connector is `stopped`: each further attempt would copy the mail once more.",
        "Give the account the rights to delete and to expunge in the source folder, then resume. The gateway only removes the"
        " mail that has been copied; it does not copy it again.",
    ),
    "copies_unknown": Entry(
        "Some mail may have been copied to the processed folder already, but the gateway could not search that folder. The mail"
        " stays in the source folder, so that it is not copied twice. New mail is taken in meanwhile.",
        "In the processed folder, look for mail that no mail program can open, and remove it. Or move the remaining mail out"
        " of the source folder by hand: the gateway has stored it.",
    ),
    "over_quota": Entry(
        "The mailbox is over its quota, so the server refuses to copy or move mail.",
        "Make room in the mailbox, or raise its quota.",
    ),
    "login_wanted": Entry(
        "The sending server accepts no mail without a login (530), and offered no way to log in on this connection. Nothing"
        " is lost: the mail waits.",
        "Check host, port and security under `smtp`: the port for submission is 465 with tls, or 587 with starttls.",
    ),
    "sending_rate_reached": Entry(
        "As many mails were sent from the connector as `smtp.rate_per_minute` or `smtp.rate_per_day` allow, or as its provider"
        " is known to take. Nothing is lost: the rest waits until `sending.next_attempt_at`.",
        "Nothing; or raise the limits, if the provider allows more.",
    ),
    "sending_limit_reached": Entry(
        "The sending server says that the account has used up its limit for sending, of a day most often. Nothing is lost: the"
        " mail waits, and is tried again for two days.",
        "Nothing; or set `smtp.rate_per_day` below the provider's limit, so that other programs can still send.",
    ),
    "sender_refused": Entry(
        "The sending server does not let this account send with the connector's address (at MAIL). The submission has"
        " failed; its text is kept.",
        "Set the address that belongs to the account, or allow it at the provider, then `POST /submissions/{id}/retry`.",
    ),
    "recipient_refused": Entry(
        "The sending server refused a recipient for good (at RCPT): most often there is no such mailbox, or it is full.",
        "Read `enhanced_status` and `server_text`, and correct the address.",
    ),
    "bounced": Entry(
        "The sending server had accepted the mail. Then a server further on refused a recipient, and a report of it came back to"
        " the mailbox (`submission.bounced`).",
        "Read `enhanced_status` and `server_text`, and correct the address, or send it again if the mailbox was only full.",
    ),
    "mail_refused": Entry(
        "The sending server refused the mail after it had seen it, most often for its content or the sender's reputation.",
        "Read `server_text`, change the mail, and send it anew.",
    ),
    "mail_too_large": Entry(
        "The mail is larger than the sending server accepts.",
        "Send less or smaller attachments.",
    ),
    "outcome_unknown": Entry(
        "The connection to the sending server was lost after the whole mail and before its answer, or the gateway was stopped"
        " while it was sending. The mail may have been sent. The gateway does not send it again by itself.",
        "Ask the recipient, or look into the Sent folder. `POST /submissions/{id}/retry` sends it again.",
    ),
    "mail_deferred": Entry(
        "The sending server does not take the mail now, for example because of greylisting or a full disk.",
        "Nothing. The gateway tries again for two days.",
    ),
    "command_refused": Entry(
        "The mail server refused a command and did not give the reason in a known form.",
        "Look into the gateway's log: it holds the command and the server's response code.",
    ),
    "certificate_refused": Entry(
        "The mail server's TLS certificate could not be verified, for another reason than those of the codes below.",
        "Have the certificate renewed by an issuer that is generally trusted. The check cannot be switched off.",
    ),
    "certificate_expired": Entry(
        "The mail server's certificate has expired; `detail` says when. Or one of those that vouch for it has.",
        "The mail server's operator has to renew it. If it is valid elsewhere, check the clock of the gateway's machine.",
    ),
    "certificate_not_yet_valid": Entry(
        "The mail server's certificate is not valid yet; `detail` says from when it is.",
        "Check the clock of the gateway's machine. Else the mail server's operator has to mend it.",
    ),
    "certificate_for_other_name": Entry(
        "The mail server's certificate is for another name than the host that was entered; `detail` says for which ones.",
        "Enter one of these names as the host, if it is the same server. Else its operator has to get a certificate for the"
        " name.",
    ),
    "certificate_issuer_unknown": Entry(
        "The issuer of the mail server's certificate is not trusted on the gateway's machine, or the server does not send"
        " the certificates in between.",
        "If the issuer is your company's own, the gateway's operator adds it to the machine's trusted certificates. Else"
        " the mail server's operator completes the chain.",
    ),
    "certificate_self_signed": Entry(
        "The mail server's certificate is self-signed: nobody vouches for it, so anybody could have made it.",
        "Have a certificate issued, or add this one to the trusted certificates of the gateway's machine.",
    ),
    "not_tls": Entry(
        "`security` is `tls`, and at this port the mail server speaks plain text.",
        "Set what `detail` says: `security` to `starttls`, or the port that the server has for TLS (993 for IMAP, 465 for"
        " SMTP).",
    ),
    "tls_expected": Entry(
        "`security` is `starttls` or `none`, and at this port the mail server waits for TLS.",
        "Set `security` to `tls`.",
    ),
    "starttls_not_offered": Entry(
        "`security` is `starttls`, and the mail server does not offer it or refuses it. No password was sent.",
        "Set `security` to `tls` and the port to the one for it (993 for IMAP, 465 for SMTP).",
    ),
    "tls_too_old": Entry(
        "The mail server speaks only versions or ciphers of TLS that are no longer safe. TLS 1.2 is the least.",
        "The mail server's operator has to update it.",
    ),
    "tls_failed": Entry(
        "The TLS handshake with the mail server failed; the gateway's log has the reason.",
        "Wait. If it recurs, show the reason to the mail server's operator.",
    ),
    "not_imap": Entry(
        "Another service answers at this port, for example one of POP3, SMTP or the web; `detail` names it where it can be"
        " told.",
        "Correct the port: 993 with `tls`, or 143 with `starttls`.",
    ),
    "not_smtp": Entry(
        "Another service answers at this port, for example one of IMAP or the web; `detail` names it where it can be told.",
        "Correct the port: 465 with `tls`, or 587 with `starttls`.",
    ),
    "mail_server_unavailable": Entry(
        "The mail server says that it is not available at the moment.",
        "Wait. The gateway tries again by itself, at growing intervals.",
    ),
    "host_unreachable": Entry(
        "The host name has no address, the address is not allowed, or there is no way to it. Which of them is not said.",
        "Check the host. A private address must lie within `GATEWAY_ALLOWED_PRIVATE_NETWORKS`.",
    ),
    "connection_refused": Entry(
        "The host was reached, and nobody listens at the port.",
        "Check the port. If it is right, the mail server is not running: the gateway tries again by itself.",
    ),
    "connect_timed_out": Entry(
        "Nothing answered at the host and port within `GATEWAY_CONNECT_TIMEOUT_S`, over IPv4 or IPv6.",
        "Check host and port. If they are right, look for a firewall between the gateway and the mail server.",
    ),
    "no_greeting": Entry(
        "The connection was accepted, and nothing was said within `GATEWAY_COMMAND_TIMEOUT_S`.",
        "Wait. If it recurs, check the port, and look at the server's load.",
    ),
    "connection_lost": Entry(
        "The connection to the mail server broke.",
        "Wait; the next cycle continues where this one stopped. If it happens again, look for a firewall or a load balancer"
        " with a short time limit.",
    ),
    "too_many_connections": Entry(
        "The mail server allows no further connection of this account or from this address.",
        "Wait. If it happens again, close other programs that use the mailbox, or poll less often.",
    ),
    "login_not_understood": Entry(
        "The mail server answered the login as if it did not know the command. This says nothing about the password.",
        "Wait. If it happens again, check host and port: it may not be a mail server.",
    ),
    "mail_not_given": Entry(
        "The mail server lists mail and does not send it: it refuses, or answers OK without the mail.",
        "Wait. The gateway tries again by itself and quarantines nothing. If it happens again, ask the server's operator:"
        " the server's storage may be damaged or missing.",
    ),
    "throttled": Entry(
        "The mail server asked for a pause.",
        "Wait. The gateway stays away for as long as the server asked. If it happens again, poll less often.",
    ),
    "mail_server_timeout": Entry(
        "The mail server did not answer within `GATEWAY_COMMAND_TIMEOUT_S`.",
        "Wait. If it happens again, look at the server's load, or raise the limit.",
    ),
}

GATEWAY = {
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
        "The connector keeps as much mail as one may: `GATEWAY_CONNECTOR_QUOTA_OCTETS`. New mail stays on the mail server.",
        "Delete messages, set a retention, or ask the operator to raise the quota. Fetching goes on by itself within a"
        " minute or two.",
    ),
    "disk_nearly_full": Entry(
        "The disk of the gateway's SQLite database has less free space than `GATEWAY_FREE_DISK_OCTETS`. Nothing is fetched,"
        " and new mail stays on the mail servers.",
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

REASONS_TO_DO = {
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

SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Requests": REQUESTS,
    "Mail servers": MAIL_SERVERS,
    "The gateway": GATEWAY,
}

INTRODUCTION = """\
An error answers `application/problem+json` (RFC 9457). Programs should use `code` and `retryable`, which are stable.
`title` and `detail` are for people and may change. `type` leads to the entry of the code on this page. `retryable` means
that the same request may succeed later without a change. In answers 429 and 503, `Retry-After` says after how many seconds
to try again. `request_id` helps to find the request in the gateway's log.

A connector's `last_error`, the history of its cycles, the report of `POST /connectors/test`, and the `code` of the events
`connector.failing` and `connector.stopped` use the same codes."""

QUARANTINE_INTRODUCTION = """\
These are the reasons in `GET /quarantine` and in the event `message.quarantined`. The mail stays in its folder on the
server. `POST /quarantine/{id}/retry` tries it again."""

QUARANTINE_HEADING = "Reasons of the quarantine"


def entries() -> dict[str, Entry]:
    """All entries by code."""
    return {code: entry for section in SECTIONS.values() for code, entry in section.items()}


def classes() -> dict[str, type[errors.GatewayError]]:
    """The class of each code, including the root."""
    found: dict[str, type[errors.GatewayError]] = {}
    waiting = [errors.GatewayError]
    while waiting:
        error = waiting.pop()
        found[error.code] = error
        waiting += error.__subclasses__()
    return found


def markdown() -> str:
    """The page as docs/errors.md."""
    lines = ["# Errors", "", "Written by `python -m tools.errors`; do not edit.", "", INTRODUCTION, ""]
    for section, found in SECTIONS.items():
        lines += [f"## {section}", ""]
        for code, entry in found.items():
            lines += [f"### {code}", _facts(code), "", entry.happened, f"**What to do:** {entry.to_do}", ""]
    lines += [f"## {QUARANTINE_HEADING}", "", QUARANTINE_INTRODUCTION, ""]
    lines += ["| reason | what happened | what to do |", "|---|---|---|"]
    lines += [f"| `{reason}` | {happened} | {to_do} |" for reason, happened, to_do in _reasons()]
    return "\n".join(lines) + "\n"


def html() -> str:
    """The page as the gateway serves it. Each code is the id of its heading."""
    body = _paragraphs(INTRODUCTION)
    for section, found in SECTIONS.items():
        body += Markup("<h2>{}</h2>").format(section)
        for code, entry in found.items():
            body += Markup('<h3 id="{0}">{0}</h3>').format(code)
            body += _paragraphs(f"{_facts(code)}\n\n{entry.happened}\n\nWhat to do: {entry.to_do}")
    body += Markup("<h2>{}</h2>").format(QUARANTINE_HEADING) + _paragraphs(QUARANTINE_INTRODUCTION)
    for reason, happened, to_do in _reasons():
        body += Markup("<h3>{}</h3>").format(reason) + _paragraphs(f"{happened} {to_do}")
    return framed("en", "Errors", body)


def _facts(code: str) -> str:
    if code == "method_not_allowed":
        status: int | None = HTTPStatus.METHOD_NOT_ALLOWED
        retryable = False
    else:
        error = classes()[code]
        status, retryable = status_of(error) or HTTPStatus.INTERNAL_SERVER_ERROR, error.retryable
    return f"Status {status}; {'retryable' if retryable else 'not retryable'}."


def _reasons() -> Iterator[tuple[str, str, str]]:
    for reason, happened in quarantine.DETAILS.items():
        yield reason, happened, REASONS_TO_DO[reason]


def _paragraphs(text: str) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(_with_code(part)) for part in text.split("\n\n"))


def _with_code(text: str) -> Markup:
    """Words in backticks become code; everything else is escaped."""
    parts = re.split(r"`([^`]*)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    )
