"""The parser process. It reads mails from stdin, answers on stdout, and may be stopped at any time.

If a mail takes too much time or memory, the kernel's limits end this process, and not the gateway. When it is ready, the
process is sandboxed: it can open no file and no socket (RLIMIT_NOFILE), start no process and write no file. It ends when
its stdin ends, so a gateway that was killed leaves no process behind.
"""

import gc
import resource
import sys
import time
from dataclasses import asdict
from typing import BinaryIO

import orjson

from app.mime.charset import load_codecs
from app.mime.frames import READY, REPLY, REQUEST, Asked, Op, Status
from app.mime.model import AttachmentContent
from app.mime.parse import extract_attachment, parse_mail

MEGABYTE = 1024 * 1024
# After a mail of this size the process asks to be replaced, because glibc seldom returns memory. (ru_maxrss cannot decide
# this: Linux inherits it through exec, so a child of a large gateway would ask after every mail.)
RETIRE_ABOVE_OCTETS = 8 * MEGABYTE


def limit(cpu_s: float, cpu_s_per_megabyte: float, memory_octets: int, size_octets: int) -> None:
    """Set the limits of time and memory for the next mail. RLIMIT_CPU counts from the start of the process, in seconds."""
    megabytes = size_octets / MEGABYTE
    until = time.process_time() + cpu_s + cpu_s_per_megabyte * megabytes
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_below(int(until) + 1, hard), hard))
    # RLIMIT_AS counts addresses, not pages. The factor 10: the mail, its parts, text with four octets a character.
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_below(memory_octets + 10 * size_octets, hard), hard))


def _below(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def enter_sandbox() -> None:
    """Give up for ever all rights that reading mail does not need. After this, nothing can be imported."""
    load_codecs()
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def answer(op: int, asked: Asked, raw: bytes) -> tuple[Status, bytes, bytes]:
    """Answer one request: status, JSON, content. If a mail causes an exception, that is an answer too."""
    try:
        if op == Op.ATTACHMENT:
            return _attachment_answer(extract_attachment(raw, asked.n, asked.listed))
        parsed = parse_mail(raw, with_html=op == Op.PARSE, listed=asked.listed)
        return Status.DONE, parsed.to_json(), b""
    except MemoryError:
        return Status.MEMORY, b"", b""
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # pyo3's PanicException, from the HTML sanitiser, is not an Exception
        return Status.FAILED, orjson.dumps(type(exc).__name__), b""


def _attachment_answer(found: AttachmentContent | None) -> tuple[Status, bytes, bytes]:
    if found is None:
        return Status.NOTHING, b"", b""
    return Status.DONE, orjson.dumps(asdict(found.info)), found.content


def serve(
    requests: BinaryIO, replies: BinaryIO, cpu_s: float, cpu_s_per_megabyte: float, memory: int
) -> None:
    """Send READY, then answer requests until stdin ends."""
    replies.write(READY)
    replies.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        op, asked_length, length = REQUEST.unpack(head)
        limit(cpu_s, cpu_s_per_megabyte, memory, length)
        asked = requests.read(asked_length)
        raw = requests.read(length)
        if len(raw) < length:
            return
        status, json, content = answer(op, Asked.from_json(asked), raw)
        replies.write(REPLY.pack(status, length > RETIRE_ABOVE_OCTETS, len(json), len(content)))
        replies.write(json)
        replies.write(content)
        replies.flush()


def main() -> None:
    cpu_s, cpu_s_per_megabyte, memory_octets = sys.argv[1:4]
    enter_sandbox()
    # Objects loaded now live as long as the process, so the garbage collector need not look at them for each mail.
    gc.freeze()
    serve(sys.stdin.buffer, sys.stdout.buffer, float(cpu_s), float(cpu_s_per_megabyte), int(memory_octets))


if __name__ == "__main__":
    main()
