"""Attachments: which parts they are, their names, and their content."""

import re
import unicodedata

from app.mime.file_types import EXTENSIONS
from app.mime.headers import first, read_subject, split_fields
from app.mime.model import AttachmentInfo, DefectCode, Defects
from app.mime.parameters import read_parameters
from app.mime.references import part_keys
from app.mime.structure import Part
from app.mime.text import clean_line
from app.mime.transfer import Decoded, decode_transfer

NAME_MAX_OCTETS = 255
CONTENT_ID_MAX_CHARS = 500

HEAD_MAX_OCTETS = 64 * 1024

_MAIL_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})
_SIGNATURE_TYPES = (
    "application/pgp-signature",
    "application/pkcs7-signature",
    "application/x-pkcs7-signature",
)
# Unicode's direction controls (UAX #9; "exe.fdp" shown as "pdf.exe"), zero-width characters, separators.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_PATH = re.compile(r"[/\\]")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def clean_name(stated: str) -> str:
    """A file name that is safe on any disk and in any header. Empty if nothing is left."""
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


def _mail_name(part: Part) -> str:
    """The subject of an attached mail, which becomes its name. Empty if it has none."""
    unseen = Defects()  # defects of the attached mail
    head = decode_part(part, unseen, where="attachment").content[:HEAD_MAX_OCTETS].lstrip(b"\r\n")
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\n\r\n")) if at >= 0), default=len(head))
    fields = split_fields(head, 0, end, unseen)
    _, parameters = read_parameters(first(fields, b"content-type"), unseen, where="content-type")
    subject = read_subject(fields, parameters.get("charset", ""), unseen)
    stem = clean_name(_PATH.sub("_", subject or ""))
    return clean_name(f"{stem}.eml") if stem else ""


def _name(part: Part, n: int, defects: Defects) -> str:
    stated = part.stated_name
    name = clean_name(stated)
    if name != stated and stated:
        defects.record(DefectCode.ATTACHMENT_NAME_CHANGED, f"attachment {n}")
    if not name and part.media_type in _MAIL_TYPES:
        name = _mail_name(part)
    return name or f"attachment-{n}.{extension_of(part.media_type)}"


def extension_of(media_type: str) -> str:
    """The file extension for this type."""
    known = EXTENSIONS.get(media_type)
    if known is not None:
        return known
    return {"message": "eml", "text": "txt"}.get(media_type.partition("/")[0], "bin")


def decode_part(part: Part, defects: Defects, *, where: str) -> Decoded:
    """The content of a leaf as it was sent, without its transfer encoding."""
    charset = part.parameters.get("charset", "").lower()
    is_text = part.media_type.startswith("text/") and not charset.startswith(("utf-16", "utf-32", "utf-7"))
    return decode_transfer(part.content, part.transfer_encoding, defects, where=where, is_text=is_text)


def _is_inline(part: Part, shown: frozenset[str]) -> bool:
    if any(key in shown for key in part_keys(part)):
        return True
    parent = part.parent
    if parent is None:
        return False
    if parent.media_type == "multipart/signed" and parent.children[0] is not part:
        return is_signature(part)
    # Another form of the text itself (AMP), which nobody attached. An invitation is for people, so it is an attachment.
    is_form = parent.media_type == "multipart/alternative" and part.disposition != "attachment"
    return is_form and part.media_type.startswith("text/") and part.media_type != "text/calendar"


def is_signature(part: Part) -> bool:
    """Whether a part of multipart/signed is the signature of the other part (RFC 1847 §2.1)."""
    stated = part.parent.parameters.get("protocol", "").lower() if part.parent else ""
    named = part.stated_name.lower().endswith((".p7s", ".asc", ".sig"))
    return part.media_type in (*_SIGNATURE_TYPES, stated) or named


def describe(part: Part, n: int, size_octets: int, shown: frozenset[str], defects: Defects) -> AttachmentInfo:
    """The description of an attachment. `shown` holds the keys of the parts that the HTML shows."""
    return AttachmentInfo(
        n=n,
        name=_name(part, n, defects),
        content_type=part.media_type,
        size_octets=size_octets,
        content_id=clean_line(part.content_id or "", CONTENT_ID_MAX_CHARS) or None,
        inline=_is_inline(part, shown),
        part=part.locator,
    )
