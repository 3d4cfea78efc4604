"""Octets to text, by a charset's name that the sender chose and may have invented.

Only charsets of mail are decoded: Python's registry also knows `zlib`, `rot13`, `idna`, `unicode_escape`,
which raise, or build lone surrogates. Of 7,710 collected mails 38 name something no registry knows
(DEFAULT, X-GBK, GB2312_CHARSET, …).
"""

import codecs
import re

from app.mime.model import DefectCode, Defects

# Python's names. A few stand for a larger charset under which everybody decodes them (WHATWG Encoding §4.2):
# gb2312 and gbk → gb18030, iso-8859-1 → windows-1252, euc_kr → cp949, shift_jis → cp932, iso-8859-9 → 1254.
_CODEC_NAMES = """
    ascii utf-8 utf-7 utf-16 utf-16-be utf-16-le utf-32 utf-32-be utf-32-le
    iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10 iso8859-13 iso8859-14
    iso8859-15 iso8859-16 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp437 cp737 cp775
    cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp874 cp949 cp950 cp932
    koi8-r koi8-u koi8-t kz1048 ptcp154 mac-cyrillic mac-greek mac-iceland mac-latin2 mac-roman mac-turkish
    big5hkscs gb18030 hz euc_jp euc_jis_2004 euc_jisx0213 shift_jis_2004 shift_jisx0213
    iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr johab
"""
_CODECS = frozenset(_CODEC_NAMES.split())
_WIDER = {
    "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "big5": "cp950",
}  # fmt: skip
# Names seen in mail that Python's registry does not know, without "x-" and "_charset".
_ALIASES = {
    "ansi": "cp1252", "latin-1": "cp1252", "western": "cp1252", "windows-1250-1": "cp1250",
    "utf8mb4": "utf-8", "unicode-1-1-utf-8": "utf-8", "unicode": "utf-16", "unicode-1-1-utf-7": "utf-7",
    "gb2312-80": "gb18030", "gb-2312": "gb18030", "gb18030-2000": "gb18030", "chinesebig5": "cp950",
    "cn-big5": "cp950", "cn-gb": "gb18030", "big5-eten": "cp950", "ks-c-5601": "cp949",
    "ks-c-5601-1987": "cp949", "ks-c-5601-1989": "cp949", "windows-949": "cp949", "windows-31j": "cp932",
    "sjis": "cp932", "ms-kanji": "cp932", "windows-874": "cp874", "dos-874": "cp874",
    "iso-8859-8-i": "iso8859-8", "iso-8859-8-e": "iso8859-8", "iso-8859-6-i": "iso8859-6",
    "visual": "iso8859-8", "mac-ce": "mac-latin2", "mac-centraleurope": "mac-latin2", "macintosh": "mac-roman",
    "mac": "mac-roman", "mac-ukrainian": "mac-cyrillic", "koi8-ru": "koi8-u", "koi": "koi8-r",
    "iso-8859-1-windows-3.1-latin-1": "cp1252", "iso-8859-2-windows-latin-2": "cp1250",
}  # fmt: skip
# Words that say "I do not know": decoded as if nothing had been said, without a defect of their own.
_UNSAID = frozenset({"", "default", "unknown", "unknown-8bit", "x-unknown", "none", "null", "binary", "8bit"})
# ISO 8859-2 has only control codes at 80-9F; Windows-1250 has Š Ť Ž š ť ž there. Czech webmails mislabel it.
_C1 = re.compile(rb"[\x80-\x9f]")
_NAME = re.compile(r"[a-z0-9][a-z0-9._:()+-]*")

_resolved: dict[str, str | None] = {}
_RESOLVED_MAX = 1000


def _resolve(label: str) -> str | None:
    """Python's name of a charset of mail, "" where nothing is said, None where it is not one."""
    name = label.strip(" \t\r\n'\"<>;,\x00").lower().removeprefix("charset=").strip("'\" ").partition("*")[0]
    if name in _UNSAID:
        return ""
    if not _NAME.fullmatch(name) or len(name) > 40:
        return None
    dashed = name.replace("_", "-").removesuffix("-charset").removeprefix("x-")
    if dashed in _UNSAID:
        return ""
    found = _ALIASES.get(dashed)
    for spelling in (name, dashed, dashed.replace("cp-", "cp")) if found is None else ():
        try:
            found = codecs.lookup(spelling).name
            break
        except (LookupError, ValueError):  # ValueError: a name that is no module name
            continue
    found = _WIDER.get(found or "", found)
    return found if found in _CODECS else None


def python_codec(label: str) -> str | None:
    """Python's name of a charset of mail, "" where nothing is said, None where it is not one."""
    if label not in _resolved:
        if len(_resolved) >= _RESOLVED_MAX:
            _resolved.clear()
        _resolved[label] = _resolve(label)
    return _resolved[label]


def decode(data: bytes, label: str, defects: Defects, *, where: str) -> str:
    """Decode octets that are said to be in a charset; never fails, notes what did not fit.

    Without a usable label: UTF-8 if it is UTF-8 (no other text looks like it by chance), else Windows-1252.
    The result may hold controls and, from UTF-7, surrogates: the gate in `text` comes after.
    """
    codec = python_codec(label)
    if codec is None:
        defects.note(DefectCode.UNKNOWN_CHARSET, f"{label[:60]} in {where}")
        codec = ""
    if codec in ("", "ascii", "utf-8"):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            defects.note(DefectCode.BAD_ENCODING, f"{codec or 'no charset'} in {where}")
            return data.decode("utf-8" if codec == "utf-8" else "cp1252", "replace")
    if codec == "iso8859-2" and _C1.search(data):
        codec = "cp1250"
    try:
        return data.decode(codec)
    except UnicodeError:
        defects.note(DefectCode.BAD_ENCODING, f"{codec} in {where}")
    try:
        return data.decode(codec, "replace")
    except UnicodeError:  # some decoders refuse even to replace
        return data.decode("latin-1")


def load_codecs() -> None:
    """Import every decoder now: the sealed parser process cannot open files later."""
    for name in _CODECS:
        codecs.lookup(name)
