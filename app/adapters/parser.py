"""The gateway's side of the parser process: turns a mail into its content, for every mail and in bounded time.

Unknown mail may still stop a parser: a real spam mail of 24 KB costs the standard library 6 s, and the HTML libraries are
written in C and Rust. So a child process with the kernel's limits parses the mail (`app.mime.worker`). If the child dies or
is stopped, the mail is tried once more without its HTML. If that fails too, this process reads the header, from the first
64 KB. A defect says what happened.

A child is started by `exec`, not `fork`, because the gateway has threads. It inherits no environment, and so no secrets.
"""

import contextlib
import fcntl
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson

import app
from app.mime.frames import READY, REPLY, REQUEST, Asked, Op, Status
from app.mime.minimal import parse_minimal
from app.mime.model import AttachmentContent, AttachmentInfo, Defect, DefectCode, Listed, ParsedMail

MEGABYTE = 1024 * 1024
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
JSON_MAX_OCTETS = 128 * MEGABYTE


class ParserUnavailable(Exception):
    """There is no parser process: it is closed, or cannot be started. This says nothing about the mail."""


class AttachmentUnreadable(Exception):
    """The parser process died or was stopped over this mail; `defect` says how."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(f"{defect.code}: {defect.detail}")
        self.defect = defect


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """The limits for one mail. The kernel counts CPU time in whole seconds, rounded up."""

    cpu_s: float = 2.0
    cpu_s_per_megabyte: float = 0.1
    memory_octets: int = 512 * MEGABYTE
    """Address space of the process, in addition to 10 times the size of the mail."""
    wall_s: float = 30.0
    wall_s_per_megabyte: float = 1.0


class _Stopped(Exception):
    def __init__(self, code: DefectCode, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class ParserProcess:
    """One child. It starts when it is first needed, and again after it died. It reads one mail at a time; thread-safe."""

    def __init__(self, limits: ParserLimits | None = None) -> None:
        self._limits = limits or ParserLimits()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def parse(self, raw: bytes, listed: Sequence[Listed] = ()) -> ParsedMail:
        """Read a mail. The defects list what the child could not do.

        Attachments in `listed` keep their numbers.

        Raises:
            ParserUnavailable: it is closed, or no child can be started.
        """
        asked = Asked(listed=listed)
        with self._lock:
            try:
                return self._parse(Op.PARSE, asked, raw)
            except _Stopped as first:
                defect = parse_minimal(b"", first.code, first.detail).defects[0]
            try:
                parsed = self._parse(Op.PARSE_WITHOUT_HTML, asked, raw)
            except _Stopped:
                return parse_minimal(raw, defect.code, defect.detail)
            return replace(parsed, defects=(defect, *parsed.defects))

    def attachment(self, raw: bytes, n: int, listed: Sequence[Listed] = ()) -> AttachmentContent | None:
        """The attachment with this number in the list; without a list, in the list that `parse` would make. None: there is no
        such attachment.

        Raises:
            AttachmentUnreadable: the child died or was stopped over this mail.
            ParserUnavailable: it is closed, or no child can be started.
        """
        with self._lock:
            try:
                status, json, content = self._exchange(Op.ATTACHMENT, Asked(n, listed), raw)
                if status == Status.NOTHING:
                    return None
                return AttachmentContent(_decoded(AttachmentInfo, json), content)
            except _Stopped as exc:
                defect = parse_minimal(b"", exc.code, exc.detail).defects[0]
                raise AttachmentUnreadable(defect) from exc

    def close(self) -> None:
        """Stop the child after its present mail."""
        with self._lock:
            self._closed = True
            self._stop()

    @property
    def pid(self) -> int | None:
        """The process id of the child, if one is running."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def _parse(self, op: Op, asked: Asked, raw: bytes) -> ParsedMail:
        _, json, _ = self._exchange(op, asked, raw)
        try:
            return ParsedMail.from_json(json)
        except (ValueError, KeyError, TypeError) as exc:
            raise _Stopped(DefectCode.PARSER_DIED, "an answer that cannot be read") from exc

    def _exchange(self, op: Op, asked: Asked, raw: bytes) -> tuple[Status, bytes, bytes]:
        """Ask the child. If the answer is not DONE or NOTHING, stop the child and raise _Stopped."""
        limits = self._limits
        child = self._running()
        deadline = time.monotonic() + limits.wall_s + limits.wall_s_per_megabyte * len(raw) / MEGABYTE
        argument = asked.to_json()
        try:
            with contextlib.suppress(BrokenPipeError):  # it died: the read below finds out how
                _write(child.stdin, REQUEST.pack(op, len(argument), len(raw)) + argument, deadline)
                _write(child.stdin, raw, deadline)
            code, retire, json_octets, octets = REPLY.unpack(_read(child.stdout, REPLY.size, deadline))
            # Decoding never makes an attachment larger. A child under the control of a mail could claim any size.
            if json_octets > JSON_MAX_OCTETS or octets > len(raw) or code not in _STATUSES:
                raise EOFError
            json = _read(child.stdout, json_octets, deadline)
            content = _read(child.stdout, octets, deadline)
        except TimeoutError as exc:
            self._stop()
            raise _Stopped(DefectCode.PARSER_TIMEOUT, "wall clock") from exc
        except EOFError as exc:
            raise self._died() from exc
        if retire or code != Status.DONE:
            self._stop()
        if code == Status.MEMORY:
            raise _Stopped(DefectCode.PARSER_MEMORY, "out of memory")
        if code == Status.FAILED:
            raise _Stopped(DefectCode.PARSER_ERROR, str(orjson.loads(json)))
        return Status(code), json, content

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ParserUnavailable("the parser is closed")
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._stop()
        try:
            return self._ready()
        except EOFError:  # killed, for example because memory is short: try once more, as with a mail
            pass
        try:
            return self._ready()
        except EOFError as exc:
            raise ParserUnavailable("the parser process does not start: it dies") from exc

    def _ready(self) -> subprocess.Popen[bytes]:
        """A new child that is ready. Raises EOFError, and leaves no child, if it dies before it is ready."""
        self._child = child = self._start()
        try:
            ready = _read(child.stdout, len(READY), time.monotonic() + START_TIMEOUT_S)
        except EOFError:
            self._stop()
            raise
        except TimeoutError as exc:
            self._stop()
            raise ParserUnavailable("the parser process does not start in time") from exc
        if ready != READY:
            self._stop()
            raise ParserUnavailable("the parser process does not answer as expected")
        return child

    def _start(self) -> subprocess.Popen[bytes]:
        limits = self._limits
        root = Path(app.__file__).resolve().parent.parent
        command = [sys.executable, "-P", "-s", "-m", "app.mime.worker"]
        command += [str(limits.cpu_s), str(limits.cpu_s_per_megabyte), str(limits.memory_octets)]
        try:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={"PYTHONPATH": str(root), "LC_ALL": "C.UTF-8"},
                start_new_session=True,  # Ctrl-C in a terminal must not stop it during a mail
            )
        except OSError as exc:
            raise ParserUnavailable(f"the parser process does not start: {exc.strerror}") from exc
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                if sys.platform == "linux":
                    with contextlib.suppress(
                        OSError
                    ):  # a user's pipes are limited; a small pipe is slower, but correct
                        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, MEGABYTE)
        return child

    def _died(self) -> _Stopped:
        """The reason why a child closed its pipe."""
        child = self._child
        code = None
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(STOP_TIMEOUT_S)
        self._stop()
        if code == -signal.SIGXCPU:
            return _Stopped(DefectCode.PARSER_TIMEOUT, "CPU time")
        if code == -signal.SIGABRT:  # Rust and glibc end like this if the kernel refuses memory
            return _Stopped(DefectCode.PARSER_MEMORY, "SIGABRT")
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return _Stopped(DefectCode.PARSER_DIED, signal.Signals(-code).name)
        return _Stopped(DefectCode.PARSER_DIED, f"exit {code}")

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()  # it holds no data that could be lost
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class ParserPool:
    """A fixed number of parser processes for any number of threads. A thread waits if none is free."""

    def __init__(self, size: int, limits: ParserLimits | None = None) -> None:
        self._size = size
        # Last in, first out: if there is little work, only one child is ever started.
        self._free: queue.LifoQueue[ParserProcess] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(ParserProcess(limits))

    def parse(self, raw: bytes, listed: Sequence[Listed] = ()) -> ParsedMail:
        """As `ParserProcess.parse`."""
        with self._checked_out() as process:
            return process.parse(raw, listed)

    def attachment(self, raw: bytes, n: int, listed: Sequence[Listed] = ()) -> AttachmentContent | None:
        """As `ParserProcess.attachment`."""
        with self._checked_out() as process:
            return process.attachment(raw, n, listed)

    def close(self) -> None:
        """Stop all children, each after its present mail. Later calls raise ParserUnavailable."""
        taken = [self._free.get() for _ in range(self._size)]
        for process in taken:
            process.close()
            self._free.put(process)

    @contextlib.contextmanager
    def _checked_out(self) -> Iterator[ParserProcess]:
        process = self._free.get()
        try:
            yield process
        finally:
            self._free.put(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


_STATUSES = frozenset(Status)


def _decoded(kind: type[AttachmentInfo], json: bytes) -> AttachmentInfo:
    try:
        return kind(**orjson.loads(json))
    except (ValueError, TypeError) as exc:
        raise _Stopped(DefectCode.PARSER_DIED, "an answer that cannot be read") from exc


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    poll = select.poll()  # select() ends at descriptor 1,023
    poll.register(pipe.fileno(), event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError


def _write(pipe: IO[bytes] | None, data: bytes, deadline: float) -> None:
    assert pipe is not None
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(pipe.fileno(), view[:MEGABYTE]) :]
        except BlockingIOError:
            _wait(pipe, select.POLLOUT, deadline)


def _read(pipe: IO[bytes] | None, octets: int, deadline: float) -> bytes:
    assert pipe is not None
    pieces = []
    while octets:
        if time.monotonic() > deadline:
            raise TimeoutError
        try:
            piece = os.read(pipe.fileno(), min(octets, MEGABYTE))
        except BlockingIOError:
            _wait(pipe, select.POLLIN, deadline)
            continue
        if not piece:
            raise EOFError
        pieces.append(piece)
        octets -= len(piece)
    return b"".join(pieces)
