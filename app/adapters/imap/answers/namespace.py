"""NAMESPACE.

namespace-response = "NAMESPACE" SP namespace SP namespace SP namespace         RFC 9051 §7.3.4, RFC 2342
namespace          = nil / "(" 1*namespace-descr ")"
namespace-descr    = "(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) … ")"
"""

import re
from collections.abc import Iterable

from app.adapters.imap.answers.response import Response

_PERSONAL = re.compile(rb'[ \t]*+\([ \t]*+\([ \t]*+"((?:[^"\\]|\\.)*+)"')
_ESCAPED = re.compile(rb'\\(["\\])')


def read_personal_prefix(responses: Iterable[Response]) -> bytes:
    """The prefix of the first personal namespace, as `INBOX.`. Empty if there is none."""
    for response in responses:
        if response.kind != "NAMESPACE":
            continue
        found = _PERSONAL.match(response.texts[0])
        if found is not None:
            return _ESCAPED.sub(rb"\1", found[1])
        if response.literals and re.fullmatch(rb"[ \t]*+\([ \t]*+\([ \t]*+", response.texts[0]):
            return response.literals[0]
    return b""
