"""A DNS server for tests: it answers from records that a test sets, over UDP on a free loopback port."""

import socket
import threading
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

TTL_S = 60


class DnsServer:
    """Use as a context manager. A name without records does not exist; `silent` names get no answer."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], list[str]] = {}
        self._names: set[str] = set()
        self.silent: set[str] = set()
        self.questions: list[str] = []
        """The names asked for so far, in small letters and without the last dot."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, 0))
        self._socket.settimeout(0.1)
        self.port = int(self._socket.getsockname()[1])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="dns", daemon=True)

    def add(self, name: str, kind: str, *values: str) -> None:
        """Records in the form of a zone file: `add("firma.test", "MX", "10 mx.firma.test.")`."""
        self._records.setdefault((name.lower(), kind), []).extend(values)
        self._names.add(name.lower())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                octets, sender = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self._answer(dns.message.from_wire(octets))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), sender)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append(name)
        if name in self.silent:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        values = self._records.get((name, kind), [])
        if values:
            answer.answer.append(dns.rrset.from_text_list(question.name, TTL_S, "IN", kind, values))
        elif name not in self._names:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
