"""What the OpenAPI document says beyond what the framework reads from the routes: where the service is, what the tags
mean, which routes need no token, each error answer once, and bodies to copy."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from fastapi import FastAPI

from app import errors
from app.body_examples import EXAMPLES, ID
from app.problems import ERRORS_PAGE, problem_responses
from app.schemas.problems import Problem
from app.who_may import ROUTES, Open, route_name

Node = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
SERVERS = [{"url": ".", "description": "The gateway that this document comes from."}]
"""Relative to the address of the document (OpenAPI 3.1 §4.8.5): also right for a gateway below a path of its proxy."""
CONTACT = {"name": "Whoever operates this gateway"}
LICENCE = {"name": "None has been granted", "identifier": "LicenseRef-None"}
TAGS = {
    "connectors": "Connected mailboxes: settings, passwords, tests, fetching, and which API keys may read them.",
    "group-bindings": "The groups that handle the mail of a shared mailbox.",
    "messages": "Mail that was received: the list to poll, content, attachments, state, deletion.",
    "quarantine": "Mail that could not be taken in. It is still on the mail server.",
    "submissions": "Mail to send, and what became of it.",
    "events": "What happened, in the order in which it was stored: a feed to poll, and the same feed as a stream.",
    "webhooks": "Addresses to which the gateway delivers the events.",
    "api-keys": "Keys for programs.",
    "audit": "Who did what.",
    "service": "Whether the gateway works, and its figures.",
}
PARAMETERS = {
    "connector_id": "Id of a connector.",
    "external_id": "The caller's own name for the connector.",
    "binding_id": "Id of a group binding.",
    "message_id": "Id of a message.",
    "n": "Number of the attachment, from 1.",
    "quarantine_id": "Id of a mail in quarantine.",
    "submission_id": "Id of a submission.",
    "webhook_id": "Id of a webhook.",
    "key_id": "Id of an API key.",
    "limit": "At most so many in one answer.",
    "messages": "`delete`: delete the stored messages, too.",
    "submissions": "`cancel`: cancel the mail that waits to be sent.",
    "state": "Only messages in this state.",
    "conversation_id": "Only messages of this conversation.",
    "q": "Words that must all occur in the subject, the addresses or the text.",
    "subject": "Words of the subject.",
    "has_attachments": "Only messages with, or without, attachments.",
    "auto_reply": "Only messages that are, or are not, automatic answers.",
    "status": "Only submissions in this state.",
    "also": "Send it even if somebody has answered the same message meanwhile.",
    "Idempotency-Key": "Names this request: repeated with the same key and body, it does nothing more.",
    "last-event-id": "The last `id` of the stream that the client has got.",
    "after": "The cursor of the last event that the caller has got, or `latest`.",
    "dry_run": "Write nothing; only answer what would be written.",
    "action": "Only records of this action.",
    "since": "Only records from this time on.",
}
"""What a parameter is, where its route does not say."""
# The titles are fixed here, because those of the standard library differ between versions of Python.
PROBLEMS: dict[int, tuple[str, type[errors.GatewayError], str]] = {
    401: ("Unauthorized", errors.Unauthenticated, "There is no token, or it is not valid."),
    403: ("Forbidden", errors.Forbidden, "The caller may not do this; an API key may lack the scope."),
    404: ("Not Found", errors.NotFound, "There is no such object, or the caller may not see it."),
    408: ("Request Timeout", errors.RequestTooSlow, "The body did not arrive in time."),
    409: ("Conflict", errors.Conflict, "The state of the object does not allow this; `code` says why."),
    410: (
        "Gone",
        errors.CursorGone,
        "The cursor is not one of this feed; `cursors` says where to begin again.",
    ),
    412: ("Precondition Failed", errors.PreconditionFailed, "The object is not as `If-Match` says."),
    413: ("Content Too Large", errors.TooLarge, "The body is too large."),
    422: ("Unprocessable Content", errors.InvalidInput, "The request is wrong; `errors` names each fault."),
    429: (
        "Too Many Requests",
        errors.TooManyRequests,
        "Too many requests: wait as long as `Retry-After` says.",
    ),
    502: ("Bad Gateway", errors.MailServerRejected, "The mail server refused."),
    503: ("Service Unavailable", errors.StoreUnavailable, "Not now: wait as long as `Retry-After` says."),
    504: ("Gateway Timeout", errors.MailServerTimeout, "The mail server did not answer in time."),
}
"""For each status of an error: its title, an error that has it, and what it means."""
HEADERS: dict[int, Node] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}},
}


def describe(app: FastAPI) -> None:
    """Have the application's document say all this."""
    made_by_framework = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made_by_framework())
        return made_by_framework()

    app.openapi = completed  # type: ignore[method-assign]


def operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """Method, path and operation of each route."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _complete(document: Node) -> None:
    document["info"] |= {"contact": CONTACT, "license": LICENCE}
    document["servers"] = SERVERS
    document["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    components = document.setdefault("components", {})
    problem_schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= problem_schema.pop("$defs", {}) | {"Problem": problem_schema}
    for method, path, operation in operations(document):
        if isinstance(ROUTES.get(route_name(method, path)), Open):
            operation["security"] = []
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in PARAMETERS:
                parameter.setdefault("description", PARAMETERS[parameter["name"]])
        if "requestBody" in operation:
            operation["responses"] |= {
                str(each): answer for each, answer in problem_responses(408, 413).items()
            }
            body = operation["requestBody"]["content"]["application/json"]
            body["examples"] = deepcopy(EXAMPLES.get(operation["operationId"], {}))
        operation["responses"] = {
            status: _shared(int(status), answer) for status, answer in sorted(operation["responses"].items())
        }
    components["responses"] = {
        title.replace(" ", ""): _answer(status) for status, (title, _, _) in PROBLEMS.items()
    }
    _rename_pages(document)


def _rename_pages(document: Node) -> None:
    """`Page_MessageRead_` becomes `MessagePage`: the name of a class in generated clients."""
    schemas = document["components"]["schemas"]
    names = {name: schema["title"] for name, schema in schemas.items() if name.startswith("Page_")}
    for old, new in names.items():
        schemas[new] = schemas.pop(old)
    refs = {f"#/components/schemas/{old}": f"#/components/schemas/{new}" for old, new in names.items()}
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            if schema.get("$ref") in refs:
                schema["$ref"] = refs[schema["$ref"]]


def _shared(status: int, answer: Node) -> Node:
    """A reference, if the answer is one of `PROBLEMS`."""
    if answer != problem_responses(status)[status]:
        return answer
    return {"$ref": f"#/components/responses/{PROBLEMS[status][0].replace(' ', '')}"}


def _answer(status: int) -> Node:
    title, error, meaning = PROBLEMS[status]
    example = {
        "type": f"{ERRORS_PAGE}#{error.code}",
        "title": title,
        "status": status,
        "detail": error.default_detail,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": ID["request_id"],
        "errors": [{"pointer": "/to/0", "detail": "is not an address"}] if status == 422 else None,
        "cursors": {"oldest": "eyJhIjoxfQ", "latest": "eyJhIjoyfQ"} if status == 410 else None,
    }
    body = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    headers: Mapping[str, Node] = {"headers": HEADERS[status]} if status in HEADERS else {}
    return {"description": meaning, **headers, "content": {"application/problem+json": body}}
