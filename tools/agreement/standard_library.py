"""Mails read by the standard library's `email`, with `policy.default`: the second opinion.

It raises on some mails, and some stop it for seconds; so it reads in a child with limits on time and memory, field by
field. A field is `{"value": …}` or `{"error": "KeyError"}`; a mail that ended the child is `{"died": "SIGXCPU"}`.
"""

import email
import email.policy
import hashlib
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

ROOT = Path(__file__).resolve().parents[2]
CPU_S = 20
MEMORY_OCTETS = 2_000_000_000
TEXT_MAX_CHARS = 2_000_000

Json = dict[str, Any]


class StandardLibrary:
    """The child, started when it is needed and again after it died. It gets up to `cpu_s` of CPU time for a mail."""

    def __init__(self, cpu_s: int = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._child: subprocess.Popen[bytes] | None = None

    def read(self, raw: bytes) -> Json:
        """What the library makes of a mail."""
        if self._child is None:
            command = [sys.executable, "-m", "tools.agreement.standard_library", str(self._cpu_s)]
            self._child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{len(raw)}\n".encode() + raw)
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if line.endswith(b"\n"):
            answer: Json = json.loads(line)
            return answer
        return {"died": self._end()}

    def _end(self) -> str:
        child, self._child = self._child, None
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        code = child.wait(CPU_S)
        child.stdout.close()
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._end()


def read(raw: bytes) -> Json:
    """All fields and parts of a mail."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return {
        "subject": _field(lambda: _text(message["subject"])),
        "from": _field(lambda: _people(message["from"])),
        "to": _field(lambda: _people(message["to"])),
        "cc": _field(lambda: _people(message["cc"])),
        "reply_to": _field(lambda: _people(message["reply-to"])),
        "date": _field(lambda: _date(message["date"])),
        "message_id": _field(lambda: _text(message["message-id"])),
        "in_reply_to": _field(lambda: _text(message["in-reply-to"])),
        "references": _field(lambda: str(message["references"] or "").split()),
        "text": _field(lambda: _body(message, "plain")),
        "html": _field(lambda: _body(message, "html")),
        "parts": _field(lambda: [_part(each) for each in _leaves(message)]),
    }


def _field(read: Callable[[], object]) -> Json:
    try:
        return {"value": read()}
    except Exception as exc:  # what it raises is what is asked
        return {"error": type(exc).__name__}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _people(header: Any) -> list[list[str]]:
    return [] if header is None else [[each.display_name, each.addr_spec] for each in header.addresses]


def _date(header: Any) -> str | None:
    if header is None or header.datetime is None:
        return None
    value = header.datetime
    return str((value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat())


def _body(message: EmailMessage, kind: str) -> str | None:
    found = message.get_body((kind,))
    return None if found is None else str(found.get_content())[:TEXT_MAX_CHARS]


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """Parts without parts; an attached mail or report is one."""
    if message.is_multipart() and message.get_content_maintype() != "message":
        for each in message.iter_parts():
            yield from _leaves(cast("EmailMessage", each))
    else:
        yield message


def _part(part: EmailMessage) -> Json:
    content = None if part.is_multipart() else cast("bytes | None", part.get_payload(decode=True))
    is_text = part.get_content_maintype() == "text"
    return {
        "content_type": part.get_content_type(),
        "disposition": _field(part.get_content_disposition),
        "name": _field(part.get_filename),
        "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "size_octets": None if content is None else len(content),
        "text": _field(lambda: str(part.get_content())[:TEXT_MAX_CHARS]) if is_text else None,
        "words_of_octets": (content or b"").decode("utf-8", "replace")[:TEXT_MAX_CHARS],
    }


def main() -> None:
    """Answer until standard input ends: a number of octets in a line, then so many; a line of JSON. The first argument is
    the CPU time for a mail, in seconds."""
    cpu_s = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    while line := sys.stdin.buffer.readline():
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + cpu_s, hard))
        raw = sys.stdin.buffer.read(int(line))
        print(json.dumps(read(raw)), flush=True)


if __name__ == "__main__":
    main()
