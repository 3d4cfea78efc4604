"""Reads the bytes of a mail into what the API shows. The time is linear in the size, whatever the bytes are.

Why not the standard library's `email`: it raises on 82 of 7,710 collected mails, and a 40 KB header stops it for 12 s
(gh-136063, gh-87075). compat32 avoids some of that, not all, and still splits line by line in Python. So structure,
addresses, parameters and encoded words have readers of our own, which look once at bounded values. Base64,
quoted-printable and charsets come from the standard library, in C. The rest (HTML parsers in C and Rust, mistakes of our
own) has no bound of its own, so `worker` runs this code in a process with limits on time and memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from app.mime import reader_1
from app.mime.attachments import CONTENT_ID_MAX_CHARS, decode_part, describe
from app.mime.bodies import BodyReader
from app.mime.containers import open_containers
from app.mime.delivery_report import read_report
from app.mime.headers import read_envelope
from app.mime.minimal import parse_minimal
from app.mime.model import AttachmentContent, AttachmentInfo, DefectCode, Defects, Listed, ParsedMail
from app.mime.numbering import Numbered, number_parts
from app.mime.references import part_keys
from app.mime.sections import choose_parts
from app.mime.snippet import make_snippet
from app.mime.structure import Part, header_charset, normalise, read_tree
from app.mime.transfer import decoded_size


class _Mail:
    """The tree of a mail and the roles of its parts, for reading the mail and for taking parts out."""

    def __init__(self, raw: bytes, listed: Sequence[Listed]) -> None:
        self.defects = Defects()
        self.raw = normalise(raw, self.defects)
        self.root: Part = read_tree(self.raw, self.defects)
        open_containers(self.root, self.defects)
        choice = choose_parts(self.root)
        self.sections = choice.sections
        self.attachments = number_parts(self.raw, self.root, choice.attachments, listed)
        self.bodies = BodyReader(self.defects)
        can_be_shown = any(part_keys(each.part) for each in self.attachments)
        self.shown = self.bodies.shown_references(self.sections) if can_be_shown else frozenset()
        if self.shown:
            self.bodies.images = self._images()

    def _images(self) -> dict[str, str]:
        """The new `src` of each image, by `reference_key`: the Content-ID, or the number if there is none."""
        images: dict[str, str] = {}
        for each in self.attachments:
            content_id = each.part.content_id or ""
            is_usable = 0 < len(content_id) <= CONTENT_ID_MAX_CHARS and content_id.isprintable()
            source = "cid:" + (quote(content_id, safe="@$+!*&=~,/:") if is_usable else f"attachment-{each.n}")
            for key in part_keys(each.part):
                images.setdefault(key, source)
        return images

    def attachment(self, numbered: Numbered) -> AttachmentContent:
        content = decode_part(numbered.part, self.defects, where=f"attachment {numbered.n}").content
        return AttachmentContent(self._described(numbered, len(content)), content)

    def info(self, numbered: Numbered) -> AttachmentInfo:
        """The same without the content, which is decoded only where its size cannot be told otherwise."""
        part = numbered.part
        size_octets = decoded_size(part.content, part.transfer_encoding)
        return (
            self.attachment(numbered).info if size_octets is None else self._described(numbered, size_octets)
        )

    def _described(self, numbered: Numbered, size_octets: int) -> AttachmentInfo:
        info = describe(numbered.part, numbered.n, size_octets, self.shown, self.defects)
        return info if numbered.is_attached else replace(info, inline=True)

    def find(self, n: int) -> Numbered | None:
        return next((each for each in self.attachments if each.n == n), None)


def parse_mail(raw: bytes, *, with_html: bool = True, listed: Sequence[Listed] = ()) -> ParsedMail:
    """Read a mail. Never fails on its content: `defects` lists what could not be read.

    Without HTML, no HTML parser sees the mail: `html` is None, and the text is the HTML without its tags. `listed` is the
    list of an earlier reading: it keeps its numbers, and new parts come after it.

    Raises:
        MemoryError: only the caller knows whether more memory is possible.
    """
    try:
        return _parse(raw, with_html=with_html, listed=listed)
    except MemoryError:
        raise
    except Exception as exc:  # this function promises not to fail; every case that occurs becomes a test
        return parse_minimal(raw, DefectCode.PARSER_ERROR, type(exc).__name__)


def _parse(raw: bytes, *, with_html: bool, listed: Sequence[Listed]) -> ParsedMail:
    mail = _Mail(raw, listed)
    envelope = read_envelope(mail.root.fields, header_charset(mail.root), mail.defects)
    texts = mail.bodies.texts(mail.sections, with_html=with_html)
    if not with_html:
        mail.defects.record(DefectCode.HTML_WITHHELD, "read without its HTML")
    attachments = tuple(mail.info(each) for each in mail.attachments)
    # Without HTML, no library sees the mail.
    report = read_report(mail.root, texts.text, envelope, with_free_text=with_html)
    return ParsedMail(
        **envelope,
        report=report,
        snippet=make_snippet(texts.marked),
        text=texts.text,
        html=texts.html,
        attachments=attachments,
        has_attachments=any(not each.inline for each in attachments),
        defects=mail.defects.listed(),
    )


def extract_attachment(raw: bytes, n: int, listed: Sequence[Listed] = ()) -> AttachmentContent | None:
    """The attachment with this number, decoded. None: there is no such attachment.

    `listed` is the list of the stored message. Without it, the numbers are those that `parse_mail` gives without a list.
    Attachments that reader 1 listed are decoded as reader 1 did.
    """
    stated = next((each for each in listed if each.n == n), None)
    if stated is None and listed:
        return None
    mail = _Mail(raw, listed)
    numbered = mail.find(n)
    if numbered is None:
        return None
    found = mail.attachment(numbered)
    if stated is None or stated.part is not None:
        return found
    content = reader_1.decode(mail.raw, numbered.part)
    return AttachmentContent(replace(found.info, size_octets=len(content)), content)
