"""The limits of request bodies: how large, how slow, and how much without a token.

The framework reads and parses a body in the event loop, before it checks the token. So this module checks the octets while they
arrive.
"""

import asyncio
import contextlib
import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.errors import GatewayError, RequestTooSlow, TooLarge, Unauthenticated
from app.gateway import Gateway
from app.services.access import callers

MAX_BODY_OCTETS = 1024 * 1024
# Attachments are inside the JSON, so these bodies may be as large as `max_request_octets`.
LARGE_BODIES = frozenset({("POST", "/submissions")})
WITHOUT_TOKEN_OCTETS = 64 * 1024
"""Before more of a body is read, the token is verified."""
COUNTED_OCTETS = 64 * 1024
"""The step in which what is in memory is counted."""
PATHS_OF_OPEN_PAGES = "/credential-links/"
MAX_VALUES = 50_000
"""The largest number of values in a JSON body, with the names of fields. A parser needs a hundred times the memory of the text for
a list of lists."""
PAUSE_S = 20.0
"""The longest pause in a body."""
READ_PAST_S = 10.0
REFUSAL = "gateway.refusal"
"""Where a request has the refusal of the body that it declares."""
ABOUT_THE_CALLER = frozenset({401, 403})
"""Answers that are given also to a request whose body is refused: who may not call learns nothing else."""
START_S = 30.0
OCTETS_PER_S = 4096
"""A body must arrive within `START_S` plus the time that it needs at this rate."""

# Inside a string: everything up to its end, or up to a backslash whose character has not come yet (RFC 8259 §7).
REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class BodyGuard:
    """Answers 413, 401 or 408 instead of the application, as soon as a body breaks a rule.

    The rest of the body is not kept.
    """

    def __init__(self, application: ASGIApp, gateway: Gateway) -> None:
        self._application, self._gateway = application, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        body = _Body(self._gateway, scope, receive)
        has_begun = False
        send_reading_on = _reading_on(body, send)

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_begun
            if body.refusal is None or has_begun or message.get("status") in ABOUT_THE_CALLER:
                has_begun = True
                await (send if body.refusal is None else send_reading_on)(message)

        try:
            await body.check_declared()
            scope[REFUSAL] = body.refusal
            await self._application(scope, body.receive, send_unless_refused)
        finally:
            body.forget()
        if body.refusal is not None and not has_begun:
            answer = problems.answer_to(Request(scope), body.refusal)
            await answer(scope, receive, send_reading_on)


def require_acceptable(scope: Scope) -> None:
    """For routes, once the caller is known to be allowed, and before anything is done.

    Raises:
        TooLarge: the client has declared a body larger than this route takes.
    """
    refusal: GatewayError | None = scope.get(REFUSAL)
    if refusal is not None:
        raise refusal


def _reading_on(body: "_Body", send: Send) -> Send:
    """Send an answer, but end it only after the client has sent its whole body, or after `READ_PAST_S`. Many clients read the
    answer only after they have sent the body. If the connection were closed earlier, they would never see the answer."""

    async def send_and_read_on(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        await body.read_past()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_and_read_on


class _Body:
    """The body of one request, and why it is refused."""

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive) -> None:
        self._gateway, self._scope, self._receive = gateway, scope, receive
        self._headers = Headers(scope=scope)
        largest = gateway.settings.max_request_octets
        self._limit = min(largest, _limit_of(scope["method"], scope["path"], largest))
        self._arrived = 0
        self._started_s = asyncio.get_running_loop().time()
        self._is_complete = False
        self._is_open = scope["path"].startswith(PATHS_OF_OPEN_PAGES)
        self._caller: str | None = None
        self._counted = 0
        self._values = ValueCount()
        self.refusal: GatewayError | None = None

    async def check_declared(self) -> None:
        """Check the length that the client declares."""
        # The server has already refused a value that is no number, and accepts no more octets than the client declares.
        declared = self._headers.get("content-length", "")
        if declared.isascii() and declared.isdigit():
            await self._check_length(int(declared))

    async def receive(self) -> Message:
        """The next message of the server. After a refusal, the application gets the message that the client has disconnected. The
        answer that it then makes is not sent."""
        if self._is_complete:  # what may come now is the end of the connection
            return await self._receive()
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout(self._patience_s()):
                message = await self._receive()
        except TimeoutError:
            self.refusal = RequestTooSlow()
        else:
            await self._check(message)
            if self.refusal is None:
                return message
        return {"type": "http.disconnect"}

    async def read_past(self) -> None:
        """Receive the rest of the body, and keep nothing of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_PAST_S):
                while not self._is_complete:
                    self._is_complete = not (await self._receive()).get("more_body", False)

    async def _check(self, message: Message) -> None:
        octets: bytes = message.get("body", b"")
        self._is_complete = not message.get("more_body", False)
        self._arrived += len(octets)
        await self._check_length(self._arrived)
        self._values.feed(octets)
        if self._values.count > MAX_VALUES and self.refusal is None:
            self.refusal = TooLarge(f"The body has more than {MAX_VALUES} values.")

    def forget(self) -> None:
        """The request has ended, and its body is not kept any more."""
        if self._caller is not None:
            self._gateway.bodies.give_back(self._caller, self._counted)
            self._counted = 0

    async def _check_length(self, octets: int) -> None:
        try:
            if octets > WITHOUT_TOKEN_OCTETS and not self._is_open:
                if self._caller is None:
                    self._caller = await run_in_threadpool(self._known_caller)
                if octets <= self._limit:
                    self._count(self._caller, octets)
            if octets > self._limit:
                raise TooLarge
        except GatewayError as error:
            self.refusal = error

    def _known_caller(self) -> str:
        token = callers.bearer_token(self._headers.get("authorization", ""))
        if token is None:
            raise Unauthenticated
        return callers.identify(self._gateway, token, origin=None).principal.name

    def _count(self, caller: str, octets: int) -> None:
        """Count so many octets in all of this body as in memory, in steps."""
        if octets > self._counted:
            more = min(octets + COUNTED_OCTETS, self._limit) - self._counted
            self._gateway.bodies.take(caller, more)
            self._counted += more

    def _patience_s(self) -> float:
        used_s = asyncio.get_running_loop().time() - self._started_s
        return max(min(PAUSE_S, START_S + self._arrived / OCTETS_PER_S - used_s), 0.0)


def _limit_of(method: str, path: str, largest: int) -> int:
    if path.startswith(PATHS_OF_OPEN_PAGES):
        return WITHOUT_TOKEN_OCTETS
    return largest if (method, path) in LARGE_BODIES else MAX_BODY_OCTETS


class ValueCount:
    """Counts the values for which a JSON parser would make an object: strings, and what follows a bracket or a comma. It takes linear
    time, accepts any text, valid or not, and reads it in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, octets: bytes) -> None:
        """Count the values in the next piece of the text. Stops above `MAX_VALUES`."""
        position = 0
        while position < len(octets) and self.count <= MAX_VALUES:
            if self._is_in_string:
                position = self._skip_string(octets, position)
            else:
                quote = octets.find(b'"', position)
                end = quote if quote >= 0 else len(octets)
                self.count += sum(octets.count(mark, position, end) for mark in (b"[", b"{", b","))
                if quote >= 0:
                    self._is_in_string = True
                    self.count += 1
                position = end + 1

    def _skip_string(self, octets: bytes, position: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            return position + 1
        found = REST_OF_STRING.match(octets, position)
        assert found is not None  # the pattern also matches the empty text
        if found.end() < len(octets):
            self._is_in_string = octets[found.end()] != ord('"')
            self._is_escaped = self._is_in_string
        return found.end() + 1
