"""The codes of what happens between the gateway and a mail server."""

from app.error_guide.entry import Entry

ENTRIES = {
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
