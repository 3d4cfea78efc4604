"""The codes of requests to the API."""

from app.error_guide.entry import Entry

ENTRIES = {
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
