"""The HTTP interface as a page for people: `openapi.md`. It is generated from the application's own OpenAPI document, so
it says what the program does."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.config import Settings
from app.main import create_app
from app.openapi_document import METHODS
from app.who_may import ROUTES, route_name, who_may

Node = Mapping[str, Any]

VALUES_IN_PLACE = 10
INTRODUCTION = """\
# HTTP interface

`imap-gateway openapi` generates this page from the application; do not edit it. `/openapi.json` is the same for programs,
`/docs` is a page for trying requests.

Every request needs `Authorization: Bearer` with a JWT or an API key, except on routes for everybody. Bodies are JSON,
times are RFC 3339 in UTC, ids are texts without a meaning. Unknown input fields are refused. Lists take `limit` and `after`
and answer `{"data": […], "next_cursor", "has_more"}`. An error answers `application/problem+json` ([Problem](#problem)):
`code` is stable, `retryable` says whether the same request may succeed later. [docs/errors.md](docs/errors.md) and
`/docs/errors` explain each code; the `type` of a problem leads there. A caller gets 404 for an object that they may not
see, and 403 for an action that they may not do with an object that they see.
"""


def openapi_document() -> dict[str, Any]:
    """The application's OpenAPI document. It does not depend on the settings of this process."""
    settings = Settings(
        database_url="sqlite:///./never-opened.db",
        secret_keys=(secrets.token_urlsafe(32),),
        jwt_secret=secrets.token_urlsafe(32),
        run_jobs=False,
    )
    app = create_app(settings)
    try:
        return app.openapi()
    finally:
        app.state.gateway.close()


def openapi_page() -> str:
    """The page, in Markdown."""
    return render(openapi_document())


def _with_values_in_place(document: Node) -> dict[str, Any]:
    """The document with the values of each enum where they are used, unless it is long: people do not follow a link for three
    words."""
    schemas = document["components"]["schemas"]
    values = {
        f"#/components/schemas/{name}": {"type": "string", "enum": schema["enum"]}
        for name, schema in schemas.items()
        if len(schema.get("enum", ())) in range(1, VALUES_IN_PLACE + 1)
    }

    def replaced(node: Any) -> Any:
        if isinstance(node, Mapping):
            ours = {name: replaced(value) for name, value in node.items()}
            return {**values[ours.pop("$ref")], **ours} if node.get("$ref") in values else ours
        return [replaced(each) for each in node] if isinstance(node, list) else node

    whole: dict[str, Any] = replaced(document)
    whole["components"]["schemas"] = {
        name: schema
        for name, schema in whole["components"]["schemas"].items()
        if f"#/components/schemas/{name}" not in values
    }
    return whole


def render(document: Node) -> str:
    """The page of an OpenAPI document."""
    document = _with_values_in_place(document)
    lines = [INTRODUCTION, f"Version {document['info']['version']}.", ""]
    operations = list(_operations(document))
    tags = [tag["name"] for tag in document["tags"]]
    lines += [f"- [{tag}](#{_anchor(tag)})" for tag in tags]
    lines += ["- [Objects](#objects)", ""]
    for tag, words in ((tag["name"], tag["description"]) for tag in document["tags"]):
        lines += [f"## {tag}", "", words, ""]
        for operation_tag, method, path, operation in operations:
            if operation_tag == tag:
                lines += _operation(document, method, path, operation)
    lines += ["## Objects", ""]
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        if name not in {"HTTPValidationError", "ValidationError"}:
            lines += _object(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _operations(document: Node) -> Iterator[tuple[str, str, str, Node]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                yield (operation.get("tags") or ["service"])[0], method.upper(), path, operation


def _operation(document: Node, method: str, path: str, operation: Node) -> list[str]:
    description = str(operation.get("description", "")).strip()
    lines = [f"### {method} {path}", ""]
    lines += [description or str(operation.get("summary", "")), ""]
    rule = ROUTES.get(route_name(method, path))
    if rule is not None:
        lines += [f"Who may: {who_may(rule)}.", ""]
    lines += _parameters(operation.get("parameters", []))
    lines += _request_body(operation.get("requestBody"))
    lines += _answers(document["components"]["responses"], operation.get("responses", {}))
    return lines


def _parameters(parameters: Sequence[Node]) -> list[str]:
    if not parameters:
        return []
    rows = [
        (
            f"`{parameter['name']}`",
            parameter["in"],
            _type(parameter.get("schema", {})),
            "yes" if parameter.get("required") else "",
            _remarks({**parameter.get("schema", {}), **_described(parameter)}),
        )
        for parameter in parameters
    ]
    return _table(("Parameter", "In", "Type", "Required", "Remarks"), rows)


def _described(node: Node) -> dict[str, Any]:
    return {"description": node["description"]} if node.get("description") else {}


def _request_body(body: Node | None) -> list[str]:
    if body is None:
        return []
    shapes = [
        f"{_type(content.get('schema', {}))} (`{media_type}`)"
        for media_type, content in body["content"].items()
    ]
    return [f"Body: {' or '.join(shapes)}", ""]


def _answers(shared: Node, responses: Node) -> list[str]:
    rows = []
    for status, named in sorted(responses.items()):
        answer = shared[named["$ref"].rsplit("/", 1)[-1]] if "$ref" in named else named
        content = answer.get("content", {})
        shapes = [_type(part.get("schema", {})) or f"`{kind}`" for kind, part in content.items()]
        rows.append((status, answer.get("description", ""), " or ".join(dict.fromkeys(shapes))))
    return _table(("Status", "Meaning", "Body"), rows)


def _object(name: str, schema: Node) -> list[str]:
    lines = [f"### {name}", ""]
    if schema.get("description"):
        lines += [str(schema["description"]).strip(), ""]
    properties = schema.get("properties")
    if not properties:
        return [*lines, _type(schema), ""]
    required = set(schema.get("required", ()))
    rows = [
        (f"`{field}`", _type(shape), "yes" if field in required else "", _remarks(shape))
        for field, shape in properties.items()
    ]
    return lines + _table(("Field", "Type", "Required", "Remarks"), rows)


def _type(schema: Node) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return f"[{name}](#{_anchor(name)})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(dict.fromkeys(_type(option) for option in schema[choice]))
    if "enum" in schema or "const" in schema:
        return " · ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(schema.get('items', {})) or 'any'}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    detail = schema.get("format")
    return f"{kind} ({detail})" if detail else str(kind)


_BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "form `{}`",
}


def _remarks(schema: Node) -> str:
    remarks = [str(schema["description"]).strip()] if schema.get("description") else []
    parts = [schema, *schema.get("anyOf", ())]
    if "items" in schema:
        remarks += [f"each {text}" for text in _bounds(schema["items"])]
    for part in parts:
        remarks += _bounds(part)
    if schema.get("default") is not None:
        remarks.append(f"default `{schema['default']}`")
    if schema.get("writeOnly"):
        remarks.append("never shown again")
    *first, last = dict.fromkeys(remarks) or [""]
    return "; ".join([*(remark.removesuffix(".") for remark in first), last])


def _bounds(schema: Node) -> list[str]:
    return [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    written = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows), ""]
    return written if rows else []


def _row(cells: Sequence[str]) -> str:
    # A bar or a line break inside a cell would end it.
    cleaned = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(cleaned)} |"


def _anchor(title: str) -> str:
    """The fragment that GitHub and GitLab give a heading."""
    return "".join(char for char in title.lower().replace(" ", "-") if char.isalnum() or char in "-_")
