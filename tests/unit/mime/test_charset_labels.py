"""Every name of a charset, put to the real parser process: it can import nothing once it works."""

import encodings
import encodings.aliases
import json
import pkgutil
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.parser import ParserProcess
from app.mime.attachments import clean_name
from app.mime.charset_labels import CODECS, LABEL_MAX_CHARS, PAGES, TABLE, look_up
from app.mime.model import ParsedMail
from app.mime.parse import parse_mail

from .mails import base64_part, mail, multipart

DATA = Path(__file__).resolve().parents[2] / "data"

# Letters of every script that a charset may have; of each charset those are tried that it has.
LETTERS = (
    "Příliš žluťoučký kůň: äöüß àéîõ ñçø ğış ąęłśźż țș ĉĝĥ þæð ÿœ žšč €“”‘’…§©"
    "Съешь ещё ґїє ЎўқәЖ ђћљ Ξεσκεπάζω עברית العربية สวัสดี 日本語 テスト ひらがな ｱｲ 漢字 简体字 繁體字 한국어 ơưđ─│┌"
)
# Python lists these among its encodings, but they are no charset, or one of the host's.
NOT_CHARSETS = frozenset(
    {"aliases", "base64_codec", "bz2_codec", "charmap", "hex_codec", "idna", "mbcs", "oem", "punycode"}
    | {
        "quopri_codec",
        "raw_unicode_escape",
        "rot_13",
        "undefined",
        "unicode_escape",
        "uu_codec",
        "zlib_codec",
    }
)
# WHATWG decodes none of these, or not as text.
WHATWG_NOT_DECODED = frozenset({"iso-2022-cn", "iso-2022-cn-ext", "replacement", "x-user-defined"})
# In these cases our reader reads more than the standard, or reports octets that do not fit.
READ_BESIDE_WHATWG = {
    "csiso2022kr": "iso2022_kr", "iso-2022-kr": "iso2022_kr", "hz-gb-2312": "hz", "big5-hkscs": "big5hkscs",
    "us-ascii": "ascii", "ascii": "ascii", "ansi_x3.4-1968": "ascii",
}  # fmt: skip
# The standard's name of an encoding, if Python does not know it.
WHATWG_NAMES = {"iso-8859-8-i": "iso8859-8", "x-mac-cyrillic": "mac-cyrillic", "windows-874": "cp874"}


@pytest.fixture(scope="module")
def process() -> Iterator[ParserProcess]:
    with ParserProcess() as started:
        yield started


def letters_of(codec: str) -> str:
    """What of the letters the charset has."""
    found = []
    for letter in LETTERS:
        try:
            letter.encode(codec)
        except UnicodeEncodeError:
            continue
        found.append(letter)
    return "".join(found)


def labelled(label: str, octets: bytes) -> bytes:
    """A mail that names the charset in its body's type, its subject and an attachment's name."""
    name = f"{label}''{''.join(f'%{octet:02X}' for octet in octets)}"
    return multipart(
        "mixed",
        base64_part(f'text/plain; charset="{label}"', octets),
        base64_part("application/pdf", b"%PDF", f"Content-Disposition: attachment; filename*={name}"),
        headers=[f"Subject: =?{label}?Q?{''.join(f'={octet:02X}' for octet in octets)}?="],
    )


def codes(parsed: ParsedMail) -> set[str]:
    """The defects, without the one that a name of all these letters is no name of a file."""
    return {defect.code.value for defect in parsed.defects} - {"attachment_name_changed"}


def faults(process: ParserProcess, labels: dict[str, str]) -> list[object]:
    """The labels under which the process does not read what was written in Python's codec of that name."""
    found: list[object] = []
    for label, codec in labels.items():
        letters = letters_of(codec)
        assert letters
        parsed = process.parse(labelled(label, letters.encode(codec)))
        names = [each.name for each in parsed.attachments]
        read = (parsed.text, parsed.subject, names, codes(parsed))
        if read != (letters, letters.strip(), [clean_name(letters)], set()):
            found.append((label, codec, *read))
    return found


@pytest.mark.slow
def test_every_name_of_the_table_is_read(process: ParserProcess) -> None:
    pages = {
        f"{word}-{page}": codec for page, codec in PAGES.items() for word in ("windows", "cp", "ibm", "x-cp")
    }
    parts = {f"iso-8859-{n}": f"iso8859-{n}" for n in range(1, 17) if n != 12}
    table = {label: codec for label, codec in TABLE.items() if codec}
    assert faults(process, {**table, **pages, **parts, **{codec: codec for codec in CODECS}}) == []


@pytest.mark.slow
def test_every_label_of_the_whatwg_standard_is_read(process: ParserProcess) -> None:
    by_encoding: dict[str, list[str]] = json.loads((DATA / "whatwg_labels.json").read_text())
    labels = {label: WHATWG_NAMES.get(name, name) for name, each in by_encoding.items() for label in each}
    labels = {**labels, **READ_BESIDE_WHATWG}
    assert len(labels) == 228
    decoded = {key: value for key, value in labels.items() if key not in WHATWG_NOT_DECODED}
    assert faults(process, decoded) == []


@pytest.mark.slow
def test_every_charset_that_pythons_registry_knows_is_read(process: ParserProcess) -> None:
    modules = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
    known = {**{name: name for name in modules}, **encodings.aliases.aliases}
    labels = {label: codec for label, codec in known.items() if codec not in NOT_CHARSETS}
    assert len(labels) > 380
    assert faults(process, labels) == []


def test_what_python_knows_beside_charsets_is_no_charset(process: ParserProcess) -> None:
    known = {**{name: name for name in NOT_CHARSETS}, **encodings.aliases.aliases}
    for label in [label for label, codec in known.items() if codec in NOT_CHARSETS]:
        if look_up(label) is None:
            parsed = process.parse(labelled(label, "kůň".encode()))
            assert (parsed.text, parsed.subject, codes(parsed)) == ("kůň", "kůň", {"unknown_charset"}), label
        else:
            assert label == "ansi"


def test_an_invented_name_is_named_and_the_text_is_there(process: ParserProcess) -> None:
    dice = random.Random(10)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_.:+"
    for _ in range(200):
        label = "q" + "".join(dice.choices(letters, k=dice.randrange(1, 70)))
        parsed = process.parse(labelled(label, "Příliš žluťoučký kůň".encode()))
        assert (parsed.text, codes(parsed)) == ("Příliš žluťoučký kůň", {"unknown_charset"}), label
        assert parsed.subject == "Příliš žluťoučký kůň"
        assert [each.name for each in parsed.attachments] == ["Příliš žluťoučký kůň"]


@pytest.mark.parametrize(
    "label",
    [
        "windows1250", "win-1250", "WIN1250", "Windows_1250", "windows 1250", "cp-1250", "CP01250", "x-cp1250",
        "ms-cp1250", "ibm1250", "ansi-1250", "1250", "windows-1250; format=flowed", "'windows-1250'", "<windows-1250>",
        "charset=windows-1250", "3Dwindows-1250", "windows-1250*cs", "WINDOWS-1250_CHARSET", "windows-1250 (Czech)",
        "windows-1250,utf-8", "win-latin2",
    ],
)  # fmt: skip
def test_a_known_charset_is_known_however_its_name_is_written(label: str) -> None:
    assert look_up(label) == "cp1250"


@pytest.mark.parametrize(
    "label", ["", " ", '""', "default", "UNKNOWN-8BIT", "x-unknown", "default_charset", "none"]
)
def test_a_name_that_says_nothing_is_no_defect(process: ParserProcess, label: str) -> None:
    parsed = process.parse(mail(f"Content-Type: text/plain; charset={label}", body="kůň"))
    assert (parsed.text, codes(parsed)) == ("kůň", set())


@pytest.mark.parametrize(
    "label", ["x" * 100_000, "1" * 100_000, "windows" * 20_000, "cs" * 50_000, "\ud800" * 9]
)
def test_a_name_of_any_length_is_looked_up_at_once(label: str) -> None:
    assert look_up(label) is None
    assert LABEL_MAX_CHARS == 100


@pytest.mark.slow
def test_the_process_and_the_function_agree_on_damaged_octets(process: ParserProcess) -> None:
    dice = random.Random(1)
    for codec in sorted(CODECS):
        raw = labelled(codec, dice.randbytes(300) + b"\x1b$B2q5D-!\x7f\x80")
        assert process.parse(raw) == parse_mail(raw), codec
        assert "parser_error" not in codes(parse_mail(raw))
