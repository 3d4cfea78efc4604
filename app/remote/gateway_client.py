"""One gateway over HTTP, for the command line."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

TIMEOUT_S = 120.0
"""Longer than any request of the gateway takes."""
MAX_TRIES = 6
MAX_PAUSE_S = 60.0
PAUSE_S = 2.0
BUSY = frozenset({429, 503})


class RemoteProblem(Exception):
    """The gateway refused a request, or cannot be reached."""

    def __init__(self, detail: str) -> None:
        """`detail`: a sentence for people."""
        super().__init__(detail)
        self.detail = detail


class GatewayClient:
    """Speaks with one gateway. A request that the gateway puts off is tried again after the time that it asks for."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def put_connector(
        self, external_id: str, body: dict[str, Any], *, dry_run: bool
    ) -> tuple[dict[str, Any], bool]:
        """Store a connector under its external id. Returns the answer, and whether the connector is new.

        Raises:
            RemoteProblem
        """
        path = f"/connectors/by-external-id/{quote(external_id, safe='')}"
        answer = self._ask("PUT", path, json=body, params={"dry_run": "true"} if dry_run else None)
        found: dict[str, Any] = answer.json()
        return found, answer.status_code == httpx.codes.CREATED or found["id"] is None

    def connectors(self) -> Iterator[dict[str, Any]]:
        """All connectors that the key sees, oldest first.

        Raises:
            RemoteProblem
        """
        params: dict[str, Any] = {"limit": 200}
        while True:
            page = self._ask("GET", "/connectors", params=params).json()
            yield from page["data"]
            if not page["has_more"]:
                return
            params["after"] = page["next_cursor"]

    def connector_id(self, name: str) -> str:
        """The id of the connector with this external id, or with this id.

        Raises:
            RemoteProblem: there is none.
        """
        for path in ("/connectors/by-external-id/", "/connectors/"):
            answer = self._send("GET", path + quote(name, safe=""))
            if answer.is_success:
                return str(answer.json()["id"])
        raise RemoteProblem(_sentence(answer))

    def run(self, connector_id: str, what: str) -> dict[str, Any]:
        """Run `test` or `fetch` on a connector. Returns the report.

        Raises:
            RemoteProblem
        """
        found: dict[str, Any] = self._ask("POST", f"/connectors/{connector_id}/{what}").json()
        return found

    def _ask(self, method: str, path: str, **values: Any) -> httpx.Response:
        answer = self._send(method, path, **values)
        if answer.is_success:
            return answer
        raise RemoteProblem(_sentence(answer))

    def _send(self, method: str, path: str, **values: Any) -> httpx.Response:
        for tries_left in range(MAX_TRIES - 1, -1, -1):
            try:
                answer = self._client.request(method, path, **values)
            except httpx.HTTPError as exc:
                raise RemoteProblem(f"The gateway cannot be reached: {type(exc).__name__}.") from exc
            if answer.status_code not in BUSY or not tries_left:
                break
            time.sleep(_pause_s(answer))
        return answer


def _pause_s(answer: httpx.Response) -> float:
    asked_for = answer.headers.get("retry-after", "")
    return min(float(asked_for), MAX_PAUSE_S) if asked_for.isascii() and asked_for.isdigit() else PAUSE_S


def _sentence(answer: httpx.Response) -> str:
    """What a problem answer says, with the fields that it names (RFC 9457)."""
    try:
        problem = answer.json()
        faults = [
            f"{fault['pointer'] or 'the body'} {fault['detail']}" for fault in problem.get("errors") or []
        ]
        return "; ".join(faults) or f"{problem['detail']} ({problem['code']})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The gateway answered {answer.status_code}, and not as a gateway does."
