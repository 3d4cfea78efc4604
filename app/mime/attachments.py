"""Attachments: which parts they are, what they are called, what is in them."""

import re
import unicodedata

from app.mime.model import AttachmentInfo, DefectCode, Defects
from app.mime.structure import Part
from app.mime.text import clean_line
from app.mime.transfer import decode_transfer

NAME_MAX_OCTETS = 255
CONTENT_ID_MAX_CHARS = 500

# `mimetypes` reads files of the host, so the same mail would get other names elsewhere.
_EXTENSIONS = {
    "application/gzip": "gz", "application/json": "json", "application/msword": "doc",
    "application/ms-tnef": "dat", "application/octet-stream": "bin", "application/pdf": "pdf",
    "application/pgp-encrypted": "asc", "application/pgp-signature": "asc", "application/pkcs7-mime": "p7m",
    "application/pkcs7-signature": "p7s", "application/rtf": "rtf", "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt", "application/vnd.ms-tnef": "dat",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/x-pkcs7-mime": "p7m", "application/x-pkcs7-signature": "p7s",
    "application/x-zip-compressed": "zip", "application/xml": "xml", "application/zip": "zip",
    "audio/mpeg": "mp3", "audio/wav": "wav", "image/bmp": "bmp", "image/gif": "gif", "image/jpeg": "jpg",
    "image/jpg": "jpg", "image/png": "png", "image/svg+xml": "svg", "image/tiff": "tif", "image/webp": "webp",
    "message/delivery-status": "txt", "message/disposition-notification": "txt", "message/global": "eml",
    "message/partial": "eml", "message/rfc822": "eml", "text/calendar": "ics", "text/csv": "csv",
    "text/directory": "vcf", "text/html": "html", "text/plain": "txt", "text/rfc822-headers": "txt",
    "text/rtf": "rtf", "text/vcard": "vcf", "text/x-vcard": "vcf", "text/xml": "xml", "video/mp4": "mp4",
}  # fmt: skip
# Unicode's direction controls (UAX #9; "exe.fdp" shown as "pdf.exe"), zero-width characters, separators.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_PATH = re.compile(r"[/\\]")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def clean_name(stated: str) -> str:
    """A file name that is safe on any disk and in any header; empty where nothing is left."""
    name = unicodedata.normalize("NFC", _INVISIBLE.sub("", stated[:4096]))
    name = _PATH.split(clean_line(name, 4096))[-1]
    name = _FORBIDDEN.sub("_", name).strip(" .\ufffd")
    octets = name.encode("utf-8")
    if len(octets) > NAME_MAX_OCTETS:
        stem, dot, extension = name.rpartition(".")
        ending = (dot + extension).encode() if dot and len(extension.encode()) <= 20 else b""
        room = NAME_MAX_OCTETS - len(ending)
        stem_octets = (stem if ending else name).encode()[:room]
        name = stem_octets.decode("utf-8", "ignore").rstrip(" .") + ending.decode()
    return name


def _name(part: Part, n: int, defects: Defects) -> str:
    stated = part.disposition_parameters.get("filename") or part.parameters.get("name") or ""
    name = clean_name(stated)
    if name != stated and stated:
        defects.note(DefectCode.ATTACHMENT_NAME_CHANGED, f"attachment {n}")
    if not name:
        extension = _EXTENSIONS.get(part.media_type)
        if extension is None:
            extension = "eml" if part.media_type.startswith("message/") else "bin"
        name = f"attachment-{n}.{extension}"
    return name


def decode_part(raw: bytes, part: Part, defects: Defects, *, where: str) -> bytes:
    """The content of a leaf without its transfer encoding, otherwise as it was sent."""
    return decode_transfer(raw[part.begin : part.end], part.transfer_encoding, defects, where=where)


def _is_inline(part: Part, content_id: str | None, shown: frozenset[str]) -> bool:
    if content_id is not None and content_id.lower() in shown:
        return True
    if part.disposition == "attachment":
        return False
    kind = part.media_type.partition("/")[0]
    in_related = part.parent is not None and part.parent.media_type == "multipart/related"
    if content_id is not None and in_related:
        return True
    if part.disposition == "inline" and kind == "image":
        return True
    # Another form of the text itself (AMP, enriched), which nobody attached; an invitation is for people.
    in_alternative = part.parent is not None and part.parent.media_type == "multipart/alternative"
    return in_alternative and kind == "text" and part.media_type != "text/calendar"


def describe(part: Part, n: int, content: bytes, shown: frozenset[str], defects: Defects) -> AttachmentInfo:
    """What is told about an attachment; `shown` are the content ids, in lower case, that the HTML shows."""
    content_id = clean_line(part.content_id or "", CONTENT_ID_MAX_CHARS) or None
    return AttachmentInfo(
        n=n,
        name=_name(part, n, defects),
        content_type=part.media_type,
        size_octets=len(content),
        content_id=content_id,
        inline=_is_inline(part, content_id, shown),
        part=part.locator,
    )
