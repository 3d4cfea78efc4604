"""Gets the content of a signed S/MIME mail out of CMS SignedData (RFC 5652 §5). It needs no key.

It reads only the path to the content, and verifies no signature. It reads BER (X.690) as mailers write it: with definite
and indefinite lengths, and with the content in one piece or in many.
"""

import binascii
import re
from dataclasses import dataclass

_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # OID 1.2.840.113549.1.7.2
_SEQUENCE, _SET, _INTEGER, _OID, _EXPLICIT_0 = 0x30, 0x31, 0x02, 0x06, 0xA0
_OCTETS, _OCTETS_IN_PIECES = 0x04, 0x24
_END_OF_CONTENTS = 0x00
PIECES_MAX = 200_000
ELEMENTS_MAX = 10_000
NESTED_MAX = 10
_ARMOUR = re.compile(rb"-----BEGIN (?:PKCS7|CMS)-----([A-Za-z0-9+/=\s]*+)")


class _Damaged(Exception):
    """The data is not BER, or is another element than expected."""


@dataclass(frozen=True, slots=True)
class SignedContent:
    content: bytes
    is_whole: bool
    """False if the mail ends inside the content."""


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    begin: int
    end: int | None
    """None: indefinite length, up to the end-of-contents octets."""


def read_signed_content(data: bytes) -> SignedContent | None:
    """The signed content. None: this is no SignedData (for example, it is encrypted), or the content is elsewhere."""
    if armour := _ARMOUR.match(data.lstrip()):
        try:
            data = binascii.a2b_base64(armour[1])
        except binascii.Error:
            return None
    try:
        return _Reader(data).signed_content()
    except _Damaged:
        return None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def signed_content(self) -> SignedContent | None:
        """ContentInfo { oid, [0] { SignedData { version, algorithms, { oid, [0] { octets } }, …"""
        at = self._into(0, _SEQUENCE)
        if not self._data.startswith(_SIGNED_DATA, at):
            return None
        at = self._into(at + len(_SIGNED_DATA), _EXPLICIT_0)
        at = self._into(at, _SEQUENCE)
        at = self._past(at, _INTEGER)
        at = self._past(at, _SET)
        at = self._into(at, _SEQUENCE)
        at = self._past(at, _OID)
        if self._element(at).tag != _EXPLICIT_0:
            return None  # the content is elsewhere, and this is only its signature
        return self._octets(self._into(at, _EXPLICIT_0))

    def _element(self, at: int) -> _Element:
        """The tag and length at this offset. X.690 §8.1: tags above 30 do not occur on our path."""
        data = self._data
        if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
            raise _Damaged
        tag, length = data[at], data[at + 1]
        at += 2
        if length == 0x80:
            if not tag & 0x20:
                raise _Damaged
            return _Element(tag, at, None)
        if length > 0x80:
            count = length & 0x7F
            if count > 8 or at + count > len(data):
                raise _Damaged
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        return _Element(tag, at, at + length)

    def _into(self, at: int, tag: int) -> int:
        element = self._element(at)
        if element.tag != tag:
            raise _Damaged
        return element.begin

    def _past(self, at: int, tag: int) -> int:
        """The end of the element that begins here."""
        if self._element(at).tag != tag:
            raise _Damaged
        open_ones = 0
        for _ in range(ELEMENTS_MAX):
            element = self._element(at)
            if element.end is None:
                open_ones += 1
                at = element.begin
            else:
                open_ones -= element.tag == _END_OF_CONTENTS
                at = element.end
            if open_ones <= 0:
                return at
        raise _Damaged

    def _octets(self, at: int) -> SignedContent:
        """An OCTET STRING, in one piece or in several, which may consist of pieces themselves."""
        pieces: list[bytes] = []
        ends: list[int | None] = []
        while len(pieces) < PIECES_MAX:
            while ends and ends[-1] is not None and at >= ends[-1]:
                ends.pop()
                if not ends:
                    return SignedContent(b"".join(pieces), True)
            try:
                element = self._element(at)
            except _Damaged:
                break
            at = element.begin
            if element.tag == _OCTETS_IN_PIECES and len(ends) < NESTED_MAX:
                ends.append(element.end)
            elif element.tag == _OCTETS and element.end is not None:
                pieces.append(self._data[at : element.end])
                at = element.end
                if at > len(self._data):
                    break
                if not ends:
                    return SignedContent(pieces[0], True)
            elif element.tag == _END_OF_CONTENTS and ends and ends[-1] is None:
                ends.pop()
                if not ends:
                    return SignedContent(b"".join(pieces), True)
            else:
                break
        if not pieces:
            raise _Damaged
        return SignedContent(b"".join(pieces), False)
