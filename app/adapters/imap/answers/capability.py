"""CAPABILITY.

    capability-data = "CAPABILITY" *(SP capability)                                 RFC 9051 §7.2.2
    "[" "CAPABILITY" *(SP capability) "]"                                           in a greeting, or after a login

A server with IMAP4rev2 alone need not list the extensions that are part of it (RFC 9051 appendix E).
"""

from collections.abc import Iterable

from app.adapters.imap.answers.response import Response
from app.adapters.imap.answers.status import codes_in

REV2 = "IMAP4REV2"
PART_OF_REV2 = frozenset(
    {
        "ENABLE",
        "ESEARCH",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "MOVE",
        "NAMESPACE",
        "SASL-IR",
        "SEARCHRES",
        "SPECIAL-USE",
        "UIDPLUS",
        "UNSELECT",
    }
)
MAX_CAPABILITIES = 1000


def read_capabilities(responses: Iterable[Response], text: bytes = b"") -> frozenset[str] | None:
    """The capabilities of the server, in capitals. None: the answer contains none."""
    kept = list(responses)
    told = [response.texts[0] for response in kept if response.kind == "CAPABILITY"]
    told += [value for code, value in codes_in(kept, text) if code == "CAPABILITY"]
    if not told:
        return None
    words = told[-1].split(None, MAX_CAPABILITIES)[:MAX_CAPABILITIES]
    capabilities = frozenset(word.decode("ascii", "replace").upper() for word in words)
    if REV2 in capabilities and "IMAP4REV1" not in capabilities:
        return capabilities | PART_OF_REV2
    return capabilities
