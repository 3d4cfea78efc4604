"""Answers with bytes from strangers: a file that the browser saves, never a page of our origin."""

from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.services.messages import pieces
from app.services.messages.reading import IMAGE_TYPES, SAFE_TYPES, UNKNOWN_TYPE, Download
from app.services.sending.contents import File

# RFC 8187 §3.2.1: the characters that an extended value may contain without escapes.
_ATTR_CHARS = "!#$&+-.^_`|~"

CONTENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The content.",
        "content": {
            content_type: {"schema": {"type": "string", "format": "binary"}}
            for content_type in sorted({*SAFE_TYPES, UNKNOWN_TYPE})
        },
        "headers": {
            "Content-Disposition": {"schema": {"type": "string"}, "description": "RFC 6266, both forms"}
        },
    }
}
SOURCE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes as received.",
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def content_disposition(name: str, *, inline: bool) -> str:
    """The value of the header (RFC 6266). It has the name in both forms, for old and for new browsers."""
    kept = (char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{''.join(kept)}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def download(file: Download) -> Response:
    """An answer that a browser saves. Whatever the content is, the browser neither runs it nor guesses its type."""
    response = StreamingResponse(file.pieces)
    response.headers["Content-Length"] = str(file.octets)
    # Not `media_type`: Starlette would add a charset to text.
    response.headers["Content-Type"] = file.content_type
    response.headers["Content-Disposition"] = content_disposition(file.name, inline=file.inline)
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    if file.sha256 is not None:
        response.headers["ETag"] = f'"{file.sha256}"'
    return response


def wants_json(request: Request) -> bool:
    """Whether the caller accepts JSON, but no media type of a mail (RFC 9110 §12.5.1)."""
    taken = {each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")}
    return "application/json" in taken and not taken & {"message/rfc822", "message/*", "*/*"}


def download_file(file: File) -> Response:
    """Like `download`, for a file of a submission. It keeps the type that the sender gave only if that type is harmless."""
    is_source = file.content_type == "message/rfc822"
    content_type = file.content_type if is_source or file.content_type in SAFE_TYPES else UNKNOWN_TYPE
    return download(
        Download(
            octets=len(file.content),
            pieces=pieces.of_content(file.content),
            content_type=content_type,
            name=file.name,
            inline=file.inline and content_type in IMAGE_TYPES,
        )
    )
