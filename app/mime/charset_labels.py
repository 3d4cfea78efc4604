"""The meaning of charset names in mails. It is our own table; it does not depend on a registry of the host.

Names are compared by their letters and digits alone: `windows-1250`, `Windows_1250` and `windows1250` are the same. Some
names mean a larger charset, with which all programs decode them (WHATWG Encoding §4.2): gb2312 and gbk → gb18030,
iso-8859-1 → windows-1252, euc-kr → windows-949, shift_jis → windows-31j, iso-8859-9 → windows-1254. The names are
those of the WHATWG Encoding Standard and of Python's `encodings`, those that IANA registered for the same charsets,
and what mailers invented beside them.

Python also has encodings that are no charsets of mail (`zlib`, `rot13`, `idna`, `unicode_escape`, `mbcs`).
"""

import re

LABEL_MAX_CHARS = 100

# By Python's name of the codec. The table omits the codec's own name, and names that follow from the rules below.
_LABELS = {
    "ascii": "ansix341968 ansix341986 ascii7bit iso646 iso646irv1991 iso646us isoir6 us usascii",
    "big5hkscs": "big5hk hkscs",
    "cp037": "ebcdiccpca ebcdiccpnl ebcdiccpus ebcdiccpwt",
    "cp1006": "",
    "cp1026": "",
    "cp1125": "cp866u ruscii",
    "cp1140": "ebcdicus37euro",
    "cp1250": "centraleuropean easteurope iso88592windowslatin2 windowslatin2 winee winlatin2 windows12501",
    "cp1251": "wincyrillic windowscyrillic",
    "cp1252": "ansi iso8859 iso885911987 iso88591windows30latin1 iso88591windows31latin1 isoir100 isolatin1 l1 "
    "latin latin1 latin1windows western westerneuropean windowslatin1 winlatin1",
    "cp1253": "wingreek",
    "cp1254": "iso885991989 iso88599windowslatin5 isoir148 isolatin5 l5 latin5 winturkish",
    "cp1255": "winhebrew",
    "cp1256": "winarabic",
    "cp1257": "winbaltic",
    "cp1258": "winvietnamese",
    "cp273": "",
    "cp424": "ebcdiccphe",
    "cp437": "pc8codepage437",
    "cp500": "ebcdiccpbe ebcdiccpch",
    "cp720": "",
    "cp737": "",
    "cp775": "pc775baltic",
    "cp850": "pc850multilingual",
    "cp852": "pcp852",
    "cp855": "",
    "cp856": "",
    "cp857": "",
    "cp858": "pc858multilingual pcmultilingual850euro",
    "cp860": "",
    "cp861": "cpis",
    "cp862": "pc862latinhebrew",
    "cp863": "",
    "cp864": "",
    "cp865": "",
    "cp866": "",
    "cp869": "cpgr",
    "cp874": "iso8859112001 isoir166 isothai thai tis620 tis6200 tis62025290 tis62025291",
    "cp875": "",
    "cp932": "macjapanese mskanji shiftjis shiftjisms sjis sjisopen sjiswin windows31j",
    "cp949": "euckr isoir149 korean ks ksc ksc5601 ksc56011987 ksc56011989 ksc56011992 ksc5636 kssc5601 ksx1001 "
    "mackorean uhc",
    "cp950": "big5 big5e big5eten big5tw chinesebig5 cnbig5 mactradchinese traditionalchinese xbig5",
    "euc_jis_2004": "jisx0213",
    "euc_jisx0213": "",
    "euc_jp": "euc eucpkdfmtjapanese eucjpms eucjpopen eucjpwin ujis",
    "gb18030": "chinese cngb euccn eucgb2312cn gb gb13000 gb180302000 gb180302005 gb2312 gb23121980 gb231280 gbk "
    "gbk2312 iso58gb231280 isoir58 macsimpchinese simplifiedchinese",
    "hp-roman8": "r8 roman8",
    "hz": "hzgb hzgb2312",
    "iso2022_jp_2": "",
    "iso2022_jp_2004": "",
    "iso2022_jp_3": "",
    "iso2022_jp_ext": "iso2022jp iso2022jp1 iso2022jpms jis junet",
    "iso2022_kr": "",
    "iso8859-2": "iso885921987 isoir101 isolatin2 l2 latin2",
    "iso8859-3": "iso885931988 isoir109 isolatin3 l3 latin3",
    "iso8859-4": "iso885941988 isoir110 isolatin4 l4 latin4",
    "iso8859-5": "cyrillic iso885951988 isocyrillic isoir144 isolatincyrillic",
    "iso8859-6": "arabic asmo708 ecma114 iso885961987 iso88596e iso88596i isoarabic isoir127 isolatinarabic",
    "iso8859-7": "ecma118 elot928 greek greek8 iso885971987 iso885972003 isogreek isoir126 isolatingreek suneugreek",
    "iso8859-8": "hebrew iso885981988 iso88598e iso88598i isohebrew isoir138 isolatinhebrew logical visual",
    "iso8859-10": "iso8859101992 isoir157 isolatin6 l6 latin6",
    "iso8859-13": "isolatin7 isoir179 l7 latin7",
    "iso8859-14": "iso8859141998 isoceltic isoir199 isolatin8 l8 latin8",
    "iso8859-15": "iso885915fdis isoir203 isolatin9 l9 latin0 latin9",
    "iso8859-16": "iso8859162001 isoir226 isolatin10 l10 latin10",
    "johab": "",
    "koi8-r": "koi koi8",
    "koi8-t": "",
    "koi8-u": "koi8ru",
    "kz1048": "rk1048 strk10482002",
    "mac-arabic": "",
    "mac-croatian": "",
    "mac-cyrillic": "macukraine macukrainian",
    "mac-farsi": "",
    "mac-greek": "",
    "mac-iceland": "macicelandic",
    "mac-latin2": "macce maccenteuro maccentraleurope maceasteurope",
    "mac-roman": "mac macintosh",
    "mac-romanian": "macromania",
    "mac-turkish": "",
    "palmos": "",
    "ptcp154": "cyrillicasian pt154",
    "shift_jis_2004": "sjis2004",
    "shift_jisx0213": "sjisx0213",
    "utf-16": "iso10646ucs2 u16 ucs2 unicode unicodefeff utf16unmarked",
    "utf-16-be": "ucs2be unicodebigunmarked unicodefffe",
    "utf-16-le": "ucs2le unicodelittleunmarked",
    "utf-32": "iso10646 iso10646ucs4 u32 ucs4",
    "utf-32-be": "ucs4be",
    "utf-32-le": "ucs4le",
    "utf-7": "u7 unicode11utf7 unicode20utf7",
    "utf-8": "iso10646utf8 isoutf8 u8 unicode11utf8 unicode20utf8 unicodeutf8 utf utf8mb3 utf8mb4 utf8n utf8sig "
    "utf8ucs2 utf8ucs4",
}
# Numbers of Microsoft and IBM that differ from the codec's number: `windows-28592` is ISO 8859-2.
PAGES = {
    39: "cp037", 154: "ptcp154", 367: "ascii", 646: "ascii", 708: "iso8859-6", 813: "iso8859-7", 819: "cp1252",
    878: "koi8-r", 912: "iso8859-2", 914: "iso8859-4", 915: "iso8859-5", 916: "iso8859-8", 920: "cp1254",
    923: "iso8859-15", 936: "gb18030", 943: "cp932", 970: "cp949", 1051: "hp-roman8", 1200: "utf-16-le",
    1201: "utf-16-be", 1208: "utf-8", 1361: "johab", 1386: "gb18030", 8859: "cp1252", 10000: "mac-roman",
    10004: "mac-arabic", 10006: "mac-greek", 10007: "mac-cyrillic", 10010: "mac-romanian", 10029: "mac-latin2",
    10079: "mac-iceland", 10081: "mac-turkish", 10082: "mac-croatian", 12000: "utf-32-le", 12001: "utf-32-be",
    20127: "ascii", 20866: "koi8-r", 20932: "euc_jp", 20936: "gb18030", 20949: "cp949", 21866: "koi8-u",
    28591: "cp1252", 28592: "iso8859-2", 28593: "iso8859-3", 28594: "iso8859-4", 28595: "iso8859-5",
    28596: "iso8859-6", 28597: "iso8859-7", 28598: "iso8859-8", 28599: "cp1254", 28600: "iso8859-10",
    28603: "iso8859-13", 28604: "iso8859-14", 28605: "iso8859-15", 38598: "iso8859-8", 50220: "iso2022_jp_ext",
    50221: "iso2022_jp_ext", 50222: "iso2022_jp_ext", 50225: "iso2022_kr", 51932: "euc_jp", 51936: "gb18030",
    51949: "cp949", 52936: "hz", 54936: "gb18030", 65000: "utf-7", 65001: "utf-8",
}  # fmt: skip
_WIDER_ISO_8859 = {"1": "cp1252", "9": "cp1254", "11": "cp874"}
# Words that mean "I do not know". The text is decoded as if there were no name, without a defect for the name.
_UNSAID = frozenset(
    {"default", "unknown", "unknown8bit", "unspecified", "userdefined"}
    | {"none", "null", "nil", "auto", "binary", "8bit", "7bit"}
)

CODECS = frozenset(_LABELS)
"""Python's names of all decoders that a mail can ask for."""

_NOT_NAME = re.compile(r"[^a-z0-9]+")
_FIRST_WORD = re.compile(r"[^\s;,()*]+")
_NUMBERED = re.compile(r"(?:windows|win|microsoft|ms|cp|ccsid|ibm|dos|oem|pc|ansi|codepage)*+0*+(\d{2,5})")
_ISO_8859 = re.compile(r"(?:iso)?(?:iec)?8859(\d{1,2})")


def squeeze(label: str) -> str:
    """The letters and digits of a name, in lower case."""
    return _NOT_NAME.sub("", label.lower())


def _table() -> dict[str, str]:
    table = dict.fromkeys(_UNSAID, "")
    for codec, labels in _LABELS.items():
        table |= dict.fromkeys((squeeze(codec), *labels.split()), codec)
    return table


TABLE = _table()
"""Python's name of the codec by the squeezed name. "": the name means "I do not know"."""


def _look_up(name: str) -> str | None:
    found = TABLE.get(name)
    if found is not None:
        return found
    if numbered := _NUMBERED.fullmatch(name):
        number = int(numbered[1])
        own = f"cp{number:03}"
        return own if own in CODECS else PAGES.get(number)
    if iso := _ISO_8859.fullmatch(name):
        own = f"iso8859-{iso[1]}"
        return _WIDER_ISO_8859.get(iso[1], own if own in CODECS else None)
    return None


def _spellings(name: str) -> list[str]:
    """A squeezed name, and the same name without the words that mailers put around names."""
    bare = name.removeprefix("3d").removeprefix("charset").removesuffix("charset")
    return [name, bare, bare.removeprefix("x"), bare.removeprefix("cs")]


def look_up(label: str) -> str | None:
    """Python's name of a charset. "": the label names none. None: the label is unknown."""
    said = label[:LABEL_MAX_CHARS]
    if not said.strip(" \t\r\n'\"<>;,\x00"):
        return ""
    first = _FIRST_WORD.search(said)
    for words in (said, first[0] if first else ""):
        for spelling in _spellings(squeeze(words)):
            found = _look_up(spelling)
            if found is not None:
                return found
    return None
