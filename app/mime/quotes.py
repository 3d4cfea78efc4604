"""Finds text that the sender did not write now: the lines above a quotation, and signatures of phones.

Each pattern looks at one line, or at few joined lines, of at most `LINE_MAX_CHARS`. Existing libraries know more
languages, but their patterns are quadratic ("On " 4,000 times takes mail-parser-reply 2.4 s).
"""

import re
from collections.abc import Sequence
from enum import IntEnum

LINE_MAX_CHARS = 400
WRAPPED_LINES_MAX = 4
HEADER_LINES_MAX = 12

# Czech, Slovak, German, Polish, English, French, Italian, Spanish.
_VERB = (
    r"(?:wrote|writes|napsal|napsala|napsali|napsal\(a\)|píše|napísal|napísala|napísali|napísal\(a\)|"
    r"schrieb|schreibt|pisze|napisał|napisała|napisał\(a\)|a écrit|ha scritto|scrive|escribió)"
)
_WEEKDAY = (
    r"(?:mon|tue|wed|thu|fri|sat|sun|po|út|st|čt|pá|so|ne|ut|št|pi|"
    r"mo|di|mi|do|fr|sa|pon|wt|śr|czw|pt|sob|niedz|lun|mar|mer|mié|jeu|jue|gio|ven|vie|sam|sáb|sab|dim|dom)"
    r"[a-zěščřžýáíéúůôľťňżśąęłé]{0,9}[.,]?"
)
_BEGIN = re.compile(
    rf"(?:On|At|In|Dne|Dňa|Dna|Dnia|W dniu|Am|Le|Il|El|Em|V|{_WEEKDAY}) ?(?=.{{0,60}}\d)|\d{{1,4}}[-./ ]",
    re.I,
)
_ENDS_WITH_VERB = re.compile(rf"(?:.{{0,350}}[\s,>])?{_VERB}(?:[\s,].{{0,200}})?\s?:", re.I)
_DATE_OR_ADDRESS = re.compile(r"\d{1,2}[.:/-]\s?\d|\b\d{4}\b|[^\s<>]@[^\s<>]")
_ADDRESS_OR_TIME = re.compile(r"@|\b\d{4}\b.{0,20}\b\d{1,2}[:.]\d{2}\b")
# Gmail before 2017: "2016-03-07 10:11 GMT+01:00 Jan Novák <jan@firma.cz>:"; Apple's mailers in Czech and other
# languages: "3. 2. 2025 v 10:11, Jan Novák <jan@firma.cz>:"
_WITHOUT_VERB = re.compile(
    r"(?:\d{4}-\d{2}-\d{2}|\d{1,2}([./]) ?\d{1,2}\1 ?\d{2,4})(?:,| v| o| at| um| à| alle| a las)? "
    r"\d{1,2}[:.]\d{2}.{0,200}<[^<>\s]{1,200}@[^<>\s]{1,200}>\s?:",
    re.I,
)
# Horde's answers: "Quoting Jan Novák <jan@firma.cz>:"
_QUOTING = re.compile(
    r"(?:Quoting|Citování|Citace|Citácia|Zitat von|Cytowanie|Citando|Quota) .{1,300}:", re.I
)
_NAMED = re.compile(rf".{{1,200}}[\s>]{_VERB}(?:[\s,].{{0,150}})?\s?:", re.I)

_SEPARATOR = re.compile(
    r"[-_=*]{2,40} ?(?:"
    r"(?:Original|Forwarded) (?:Message|mail|e-mail)|Begin forwarded message|"
    r"(?:Původní|Přeposlaná|Předaná) (?:zpráva|e-mail|mail)|(?:Pôvodná|Preposlaná) správa|Pôvodný e-?mail|"
    r"(?:Ursprüngliche|Weitergeleitete|Original-?) ?Nachricht|Originalnachricht|"
    r"(?:Oryginalna|Pierwotna|Przekazana|Treść oryginalnej) wiadomoś(?:ć|ci)|Wiadomość (?:oryginalna|przekazana)|"
    r"Message (?:d'origine|original|transféré|initial)|Messaggio (?:originale|inoltrato)|"
    r"Mensaje (?:original|reenviado)|Forwarded by .{1,200}|Přeposlal.{1,200}"
    r") ?[-_=*]{0,40}|"
    r"(?:Begin forwarded message|Začátek přeposlané zprávy|Anfang der weitergeleiteten Nachricht|"
    r"Début du message (?:réexpédié|transféré)|Inizio messaggio inoltrato|Inicio del mensaje reenviado) ?:",
    re.I,
)
_RULE = re.compile(r"[_-]{20,}|\*{20,}|={20,}")
_FROM_FIELD = re.compile(r"\*?(?:From|Od|Von|De|Da)\s?:\*? ?.{1,300}", re.I)
_OTHER_FIELD = re.compile(
    r"\*?(?:Sent|Date|To|Cc|Subject|Odesláno|Odoslané|Datum|Dátum|Komu|Kopie|Kópia|Předmět|Predmet|"
    r"Gesendet|An|Betreff|Wysłan[oe]|Do|DW|Temat|Data|Envoyé|À|Pour|Objet|Inviato|A|Oggetto|Enviado(?: el)?|Para|"
    r"Fecha|Asunto|Reply-To|Priorita|Přílohy|Attachments)\s?:\*? ?.{0,300}",
    re.I,
)
_DEVICE = (
    r"(?:iPhon|iPad|iOS|Android|Samsung|Galaxy|Outlook|Yahoo|Huawei|Xiaomi|Nokia|BlackBerry|smartphone|Handy|"
    r"mobil|telefon|komórk|móvil|cellulare|Mail|Windows|Seznam|Proton|Thunderbird)"
)
# The first words of such a line. To look for them first is ten times as fast as the whole pattern.
_PHONE_WORDS = """
    sent odesláno odoslané gesendet verschickt wysłane wysłano wysłany envoyé inviato enviado von get získat stáhnout
    stáhněte získajte holen pobierz téléchargez obtenir scarica ottieni obtener descargar
"""
_PHONE_BEGINS = frozenset(_PHONE_WORDS.split())
_PHONE_SIGNATURE = re.compile(
    r"(?:(?:Sent (?:from|with|via)|Odesláno (?:z|ze|pomocí|přes)|Odoslané (?:z|zo|pomocou)|"
    r"(?:Gesendet|Verschickt) (?:von|mit|aus)|Wysłan[eoy] z|Envoyé (?:de|depuis|avec|à partir)|"
    rf"Inviato (?:da|dal|con)|Enviado (?:desde|de|do)) [^.!?:]{{0,50}}{_DEVICE}[^.!?:]{{0,50}}|"
    rf"Von mein\w{{0,3}} [^.!?:]{{0,40}}{_DEVICE}[^.!?:]{{0,30}}gesendet|"
    r"(?:Get|Získat|Stáhnout|Stáhněte si|Získajte|Holen Sie sich|Pobierz|Téléchargez|Obtenir|Scarica|Ottieni|"
    r"Obtener|Descargar) Outlook (?:for|pro|pre|für|dla|pour|per|para) (?:iOS|Android|Mac))\.?",
    re.I,
)


class Kind(IntEnum):
    """The kind of text that begins at a line."""

    NOTHING = 0
    NAMED = 1
    """Words such as "Petr wrote:". They are an attribution only if a quotation follows."""
    ATTRIBUTION = 2
    HEADERS = 3
    """The header of the answered mail, or a line that introduces it."""


def quoted_beginning(lines: Sequence[str], at: int) -> tuple[Kind, int]:
    """Whether the text above a quotation begins at this line, and the number of its lines."""
    line = lines[at]
    if not line or len(line) > LINE_MAX_CHARS:
        return Kind.NOTHING, 0
    if line[0] not in "-_=*" and ":" not in "".join(lines[at : at + WRAPPED_LINES_MAX]):
        return Kind.NOTHING, 0  # what stands above a quotation is ruled off or ends in a colon
    if (line[0] in "-_=*" or line[-1] == ":") and _SEPARATOR.fullmatch(line):
        return Kind.HEADERS, 1 + _header_lines(lines, at + 1)
    if line[0] in "-_=*" and _RULE.fullmatch(line):
        count = _header_lines(lines, at + 1)
        return (Kind.HEADERS, 1 + count) if count else (Kind.NOTHING, 0)
    if ":" in line and _FROM_FIELD.fullmatch(line) and _header_lines(lines, at) > 1:
        return Kind.HEADERS, _header_lines(lines, at)
    return _attribution(lines, at)


def is_phone_signature(line: str) -> bool:
    """Whether it is a line that a phone or a mailer adds to every mail."""
    is_short = len(line) <= 120 and line.partition(" ")[0].lower() in _PHONE_BEGINS
    return is_short and _PHONE_SIGNATURE.fullmatch(line) is not None


def _header_lines(lines: Sequence[str], at: int) -> int:
    """The number of lines from here that are header fields, in the form in which mailers copy them into an answer."""
    end = at
    for place in range(at, min(at + 2 * HEADER_LINES_MAX, len(lines))):
        line = lines[place]
        if not line:
            if place - end >= 2:
                break
            continue
        if len(line) > LINE_MAX_CHARS or not (_FROM_FIELD.fullmatch(line) or _OTHER_FIELD.fullmatch(line)):
            break
        end = place + 1
    return end - at


def _attribution(lines: Sequence[str], at: int) -> tuple[Kind, int]:
    line = lines[at]
    if _BEGIN.match(line):
        joined = line
        for count in range(1, WRAPPED_LINES_MAX + 1):
            if joined.endswith(":") and _is_dated(joined):
                return Kind.ATTRIBUTION, count
            following = lines[at + count] if at + count < len(lines) else ""
            if not following or following.startswith(">") or len(joined) + len(following) > LINE_MAX_CHARS:
                break
            joined = f"{joined} {following}"
    if not line.endswith(":"):
        return Kind.NOTHING, 0
    if _WITHOUT_VERB.fullmatch(line):
        return Kind.ATTRIBUTION, 1
    if _NAMED.fullmatch(line) or _QUOTING.fullmatch(line):
        return (Kind.ATTRIBUTION if _ADDRESS_OR_TIME.search(line) else Kind.NAMED), 1
    return Kind.NOTHING, 0


def _is_dated(line: str) -> bool:
    if _WITHOUT_VERB.fullmatch(line):
        return True
    return _DATE_OR_ADDRESS.search(line) is not None and _ENDS_WITH_VERB.fullmatch(line) is not None
