"""Calls that check a server which somebody names: a server of names may take as long as it likes for that."""

from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from app.gateway import Gateway
from app.services.access.rules import Principal

Result = TypeVar("Result")


async def run(gateway: Gateway, principal: Principal, call: Callable[[], Result], *, may_ask: bool) -> Result:
    """Run a call: among those that wait for others' servers if it may ask for the address of a name (`may_ask`), otherwise
    in the framework's threads.

    Raises:
        TooManyRequests, Overloaded: as in `ServerRequests.run`.
    """
    if may_ask:
        return await gateway.server_requests.run(principal.name, call)
    return await run_in_threadpool(call)
