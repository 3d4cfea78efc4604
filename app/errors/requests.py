"""Errors of requests to the API."""

from dataclasses import dataclass

from app.errors.root import GatewayError


class Unauthenticated(GatewayError):
    code = "unauthenticated"
    default_detail = "This request needs a valid bearer token."


class Forbidden(GatewayError):
    code = "forbidden"
    default_detail = "You may see this object, but you may not do this with it."


class ScopeMissing(Forbidden):
    code = "scope_missing"
    default_detail = "The API key lacks the scope for this."


class NotFound(GatewayError):
    code = "not_found"
    default_detail = "There is no such object, or you may not see it."


class Conflict(GatewayError):
    code = "conflict"
    default_detail = "The object's present state does not allow this."


class AlreadyExists(Conflict):
    code = "already_exists"
    default_detail = "Such an object exists already."


class MailboxTaken(Conflict):
    code = "mailbox_taken"
    default_detail = "Another connector has logged in to this mailbox and fetches from this folder."


class WrongState(Conflict):
    code = "wrong_state"


class CycleRunning(Conflict):
    code = "cycle_running"
    retryable = True
    default_detail = "A fetch cycle of this mailbox is still running."


class MessagesStored(Conflict):
    code = "messages_stored"
    default_detail = "Messages of this connector are stored; repeat with ?messages=delete to delete them too."


class SubmissionsQueued(Conflict):
    code = "submissions_queued"
    default_detail = "Mail of this connector waits to be sent; repeat with ?submissions=cancel to cancel it, or send it first."


class IdempotencyMismatch(Conflict):
    code = "idempotency_mismatch"
    default_detail = "This Idempotency-Key was used before with another request."


class IdempotencyKeySpent(Conflict):
    code = "idempotency_key_spent"
    default_detail = (
        "The submission with this Idempotency-Key was deleted. To send the mail again, use a new key."
    )


class AlreadyAnswered(Conflict):
    code = "already_answered"
    default_detail = "The message is answered, or an answer waits to be sent; see its `answers`. To answer it anyway, repeat with `also`."


class AnswerToAutomaticMail(Conflict):
    code = "answer_to_automatic_mail"
    default_detail = "A program sent the message, and a program answers it. The two could go on answering for ever (RFC 3834 §2)."


class AttachmentUnreadable(Conflict):
    code = "attachment_unreadable"
    default_detail = "This attachment cannot be taken out of the mail; the mail's source still holds it."


class PreconditionFailed(GatewayError):
    code = "precondition_failed"
    default_detail = "The object has changed since the version that If-Match names; read it again."


class CursorGone(GatewayError):
    code = "cursor_gone"
    default_detail = "The cursor is not one of this feed: the database was restored from a backup. Begin again with one of `cursors`."

    def __init__(self, *, oldest: str, latest: str) -> None:
        self.oldest, self.latest = oldest, latest
        super().__init__()


@dataclass(frozen=True)
class FieldFault:
    """One fault of the input: a JSON Pointer (RFC 6901) to the field, and what is wrong with it."""

    pointer: str
    detail: str


class InvalidInput(GatewayError):
    code = "invalid_input"
    default_detail = "The input is not valid."

    def __init__(self, *faults: FieldFault, detail: str | None = None) -> None:
        self.faults = faults
        super().__init__(detail)


class RequestTooSlow(GatewayError):
    code = "request_too_slow"
    retryable = True
    default_detail = "The body of the request did not arrive in time."


class TooLarge(GatewayError):
    code = "too_large"
    default_detail = "The request is larger than this gateway accepts."


class TooManyRequests(GatewayError):
    code = "too_many_requests"
    retryable = True
    default_detail = "Too many requests; try again later."

    def __init__(self, retry_after_s: int = 60) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class TooManyRefusedLogins(TooManyRequests):
    code = "too_many_refused_logins"
    default_detail = "The mail server has refused too many logins in the last minute; try again later."


class TooManyConnectors(TooManyRequests):
    code = "too_many_connectors"
    default_detail = (
        "You have reached the largest number of mailboxes for one user; delete a connector first."
    )


class TooManyLinks(TooManyRequests):
    code = "too_many_links"
    default_detail = "You have reached the largest number of unused links for one caller; withdraw some, or wait until they are used."


class Overloaded(GatewayError):
    code = "overloaded"
    retryable = True
    default_detail = (
        "The gateway already handles as many requests of this kind as it may at once; try again later."
    )

    def __init__(self, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class ParserBusy(GatewayError):
    code = "parser_busy"
    retryable = True
    default_detail = "No parser is free to read the mail; try again later."
