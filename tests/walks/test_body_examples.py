"""The bodies that the documentation offers are taken by the gateway as they are, but for the ids of objects and the mail
server that is asked."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import openapi_document, openapi_page
from app.body_examples import EXAMPLES, ID
from app.who_may import route_name
from tests.support.access_world import World
from tests.support.route_calls import CALLS, SERVER

ROUTES = {
    operation["operationId"]: route_name(method, path)
    for method, path, operation in openapi_document.operations(openapi_page.openapi_document())
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_example_is_taken(client: TestClient, world: World) -> None:
    for operation, examples in EXAMPLES.items():
        call = CALLS[ROUTES[operation]]
        method = ROUTES[operation].split()[0]
        for name, example in examples.items():
            kind = example["value"].get("kind", "shared")
            objects = world.objects(kind)
            body = _about(objects, example["value"])
            answer = client.request(
                method,
                call.path.format_map(objects),
                json=body,
                headers=world.callers["administrator who is a member"],
            )
            assert answer.status_code in call.done, (operation, name, answer.text)
            if method in {"DELETE", "PATCH", "PUT"} or "delete" in operation:
                world.forget(kind)


def _about(objects: Mapping[str, Any], body: Any) -> Any:
    """The example with ids of objects that are there, and with a mail server at which nobody listens."""
    text = json.dumps(body)
    for name, field in (("connector_id", "connector"), ("message_id", "message")):
        text = text.replace(ID[name], objects[field])
    body = json.loads(text)
    for server in ("imap", "smtp"):
        if server in body:
            # No name is looked up; the rest is as in the example.
            body[server]["host"] = SERVER["host"]
    if set(body) == {"email_address"}:
        body["email_address"] = "orders@seznam.cz"  # a known provider, for the same reason
    return body
