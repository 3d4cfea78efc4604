"""Opens containers: parts that hold mails or files (signed S/MIME, winmail.dat, uuencoded files in plain text).

The content of a container becomes the children of its part in the tree. All parts share the limits of the mail (parts,
depth, octets), so that containers inside containers stay little work.
"""

import re
from collections.abc import Callable

from app.mime.attachments import decode_part
from app.mime.charset import decode
from app.mime.cms import read_signed_content
from app.mime.file_types import type_of
from app.mime.model import DefectCode, Defects
from app.mime.rtf import decompress_rtf, read_rtf
from app.mime.structure import DEPTH_MAX, PARTS_MAX, Part, all_parts, read_tree
from app.mime.tnef import Tnef, TnefFile, read_tnef
from app.mime.uuencode import find_uuencoded_files

CONTAINERS_MAX = 50
CONTAINER_DEPTH_MAX = 8

_SIGNED_TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_UNTYPED = frozenset({"application/octet-stream", "application/x-unknown", "application/binary"})
_TNEF_NAMES = frozenset({"winmail.dat", "win.dat"})
# Any file can be signed. Content that begins like this is a part of a mail.
_ENTITY = re.compile(
    rb"\s*+(?:(?!content-type|mime-version)[!-9;-~]{1,200}+[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+"
    rb"(?:content-type|mime-version)[ \t]*+:",
    re.I,
)
ENTITY_HEAD_MAX_OCTETS = 64 * 1024
_MEDIA_TYPE = re.compile(r"(?!multipart/|message/)[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
# The content of meetings, tasks and contacts is in properties that are not read here, so these also stay attachments.
_MAIL_CLASS = re.compile(r"(?:ipm\.note|ipm\.microsoft mail\.note|ipm\.post|ipm\.document|report)?(?:\..*)?")
# Marks a mail that is attached inside winmail.dat.
_ATTACHED_MAIL = "attached-mail"


def open_containers(root: Part, defects: Defects) -> None:
    """Put the content of containers into the tree. A container that cannot be opened stays an attachment."""
    _Opener(root, defects).open_all()


class _Opener:
    def __init__(self, root: Part, defects: Defects) -> None:
        self._defects = defects
        parts = list(all_parts(root))
        self._parts = len(parts)
        self._waiting = [(part, 0) for part in reversed(parts) if not part.children]
        self._opened = 0
        self._room = 4 * len(root.raw) + 1024 * 1024

    def open_all(self) -> None:
        while self._waiting:
            part, level = self._waiting.pop()
            opening = _opening(part)
            if opening is None:
                continue
            if self._is_over_the_limit(part, level):
                self._defects.record(
                    DefectCode.PARTS_LIMIT, "more containers, or deeper ones, than are opened"
                )
                return
            opening(self, part)
            if part.children:
                self._opened += 1
                inner = [each for child in part.children for each in all_parts(child)]
                self._parts += len(inner)
                self._waiting += [(each, level + 1) for each in reversed(inner) if not each.children]

    def _is_over_the_limit(self, part: Part, level: int) -> bool:
        is_deep = level >= CONTAINER_DEPTH_MAX or part.depth >= DEPTH_MAX
        return is_deep or self._opened >= CONTAINERS_MAX or self._parts >= PARTS_MAX or self._room <= 0

    def _decoded(self, part: Part) -> bytes:
        decoded = decode_part(part, Defects(), where="container")
        self._room -= len(decoded.content)
        return decoded.content + b"\n" + decoded.pasted if decoded.pasted else decoded.content

    def open_signed(self, part: Part) -> None:
        signed = read_signed_content(self._decoded(part))
        if signed is None or not _ENTITY.match(signed.content, 0, ENTITY_HEAD_MAX_OCTETS):
            return
        place = f"{part.locator}/"
        inner = read_tree(signed.content, self._defects, depth=part.depth + 1, parts=self._parts, place=place)
        part.children.append(inner)
        if not signed.is_whole:
            self._record_damage(part)

    def open_tnef(self, part: Part) -> None:
        tnef = read_tnef(self._decoded(part))
        if tnef is None:
            if part.media_type in _TNEF_TYPES:
                self._defects.record(DefectCode.CONTAINER_UNREADABLE, part.media_type)
            return
        for file in tnef.files[: max(PARTS_MAX - self._parts, 0)]:
            if file.name or file.content:
                part.children.append(_tnef_file(part, file))
        part.children.append(_tnef_message(part, tnef))
        part.kept = _MAIL_CLASS.fullmatch(tnef.message_class) is None
        if not tnef.is_whole:
            self._record_damage(part)

    def open_text(self, part: Part) -> None:
        text = self._decoded(part)
        files = list(find_uuencoded_files(text))[: max(PARTS_MAX - self._parts, 0)]
        if not files:
            return
        ends = [0, *(file.end for file in files)]
        begins = [*(file.begin for file in files), len(text)]
        rest = b"".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))
        part.children.append(_inner(part, rest, "text/plain", parameters=part.parameters))
        for file in files:
            name = decode(file.name, part.parameters.get("charset", ""), self._defects, where="uuencode")
            part.children.append(_inner(part, file.content, type_of(name), name=name))

    def _record_damage(self, part: Part) -> None:
        part.kept = True
        self._defects.record(DefectCode.CONTAINER_UNREADABLE, f"{part.media_type} is damaged or cut off")


def _opening(part: Part) -> Callable[[_Opener, Part], None] | None:
    """The method that opens a part. None: the part is no container."""
    name = part.stated_name.lower()
    untyped = part.media_type in _UNTYPED
    if part.media_type in _SIGNED_TYPES or (untyped and name == "smime.p7m"):
        return _Opener.open_signed
    if part.media_type in _TNEF_TYPES or (untyped and name in _TNEF_NAMES):
        return _Opener.open_tnef
    if part.media_type != "text/plain" or part.disposition == "attachment" or part.spare:
        return None
    may_hold = part.transfer_encoding == "base64" or part.raw.find(b"begin", part.begin, part.end) >= 0
    return _Opener.open_text if may_hold and (not name or part.parent is None) else None


def _inner(
    container: Part,
    content: bytes,
    media_type: str,
    *,
    parameters: dict[str, str] | None = None,
    name: str | None = None,
    content_id: str = "",
) -> Part:
    """A part made from the content of a container. It has the role of the container's place; with a name it is attached."""
    return Part(
        raw=content,
        fields={b"content-id": [content_id.encode("utf-8", "replace")]} if content_id else {},
        media_type=media_type,
        parameters=dict(parameters or {}),
        disposition="" if name is None else "attachment",
        disposition_parameters={"filename": name} if name else {},
        begin=0,
        end=len(content),
        depth=container.depth + 1,
        parent=container.parent,
        place=f"{container.locator}/{len(container.children)}/",
    )


def _tnef_file(container: Part, file: TnefFile) -> Part:
    if file.is_mail:
        return _inner(
            container, file.content, "application/ms-tnef", name=file.name, parameters={_ATTACHED_MAIL: "yes"}
        )
    media_type = file.media_type if _MEDIA_TYPE.fullmatch(file.media_type) else type_of(file.name)
    return _inner(container, file.content, media_type, name=file.name, content_id=file.content_id)


def _tnef_message(container: Part, tnef: Tnef) -> Part:
    """The text of a winmail.dat. The text of a mail that is attached inside one is a file beside its attachments."""
    value, charset, is_html = _tnef_text(tnef)
    content = value.encode("utf-8", "replace") if isinstance(value, str) else value
    parameters = {"charset": "utf-8" if isinstance(value, str) else charset}
    media_type = "text/html" if is_html else "text/plain"
    if _ATTACHED_MAIL not in container.parameters:
        part = _inner(container, content, media_type, parameters=parameters)
        part.spare = True
        return part
    stem = container.stated_name or "message"
    name = f"{stem}.html" if is_html else f"{stem}.txt"
    return _inner(container, content, media_type, parameters=parameters, name=name)


def _tnef_text(tnef: Tnef) -> tuple[str | bytes, str, bool]:
    """The text or its octets, the charset of the octets, and whether it is HTML."""
    if tnef.html:
        return tnef.html, tnef.html_charset, True
    if tnef.text:
        return tnef.text, tnef.charset, False
    text, is_html = read_rtf(decompress_rtf(tnef.compressed_rtf))
    return text, "", is_html
