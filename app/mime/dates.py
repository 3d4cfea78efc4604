"""Reads the Date header. We have our own reader because `email.utils` reads year 0 as 2000, overflows at year 99999999999,
and treats an unknown zone as no zone.

An uncertain date is None: a wrong date would put a conversation into the wrong order, and nobody would notice.
"""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

from app.mime.date_words import HALVES, MONTHS, RULED_ZONES, WINDOWS_ZONES, ZONES
from app.mime.model import DefectCode, Defects
from app.mime.text import clean_date

VALUE_MAX_CHARS = 200

_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d{1,9})?)?(?!\d)"
_YEAR = r"(?P<year>\d{1,11})\.?(?!\d)"
_WEEKDAY = r"(?:[^\W\d_]{1,20}+\.?\s*,?\s*)?"
_MONTH = r"(?P<month>[^\W\d_]{3,12}+)\.?"
_REST = r"(?:\s*(?P<rest>.*))?"
_FORMS = (
    # RFC 5322 §3.3, also with dashes: Tue, 12-Mar-2024 10:00:00 +0100
    re.compile(rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s./-]+{_MONTH}[\s./-]+{_YEAR},?\s+(?:at\s+)?{_TIME}{_REST}", re.I),
    # asctime, date(1), JavaScript: Tue Mar 12 10:00:00 CET 2024, Tue Mar 12 2024 10:00:00 GMT+0100
    re.compile(rf"(?:[^\W\d_]{{2,20}}+\.?,?\s+)?{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+{_YEAR},?\s+(?:at\s+)?{_TIME}{_REST}",
               re.I),
    re.compile(rf"[^\W\d_]{{2,20}}+\.?,?\s+{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+{_TIME}"
               r"(?P<rest>.{0,60}?)\s+(?P<year>\d{4})(?P<after>\s+.*)?"),
    # ISO 8601 and similar forms
    re.compile(rf"{_WEEKDAY}(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}})"
               rf"(?:\s*T\s*|,?\s+){_TIME}{_REST}", re.I),
    re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})T(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})"
               rf"{_REST}", re.I),
    # 12.3.2024 is day and month; with slashes the order is not certain
    re.compile(rf"{_WEEKDAY}(?P<day>\d{{1,2}})\.\s*(?P<month>\d{{1,2}})\.\s*(?P<year>\d{{4}}),?\s+{_TIME}{_REST}"),
    re.compile(rf"{_WEEKDAY}(?P<either>\d{{1,2}})[/-](?P<other>\d{{1,2}})[/-](?P<year>\d{{4}}),?\s+{_TIME}{_REST}"),
)  # fmt: skip
_COMMENT = re.compile(r"\(([^()]{0,100}+)\)")
_COLON = re.compile(r" ?: ?")
_HALF = re.compile(r"(a\.?m|p\.?m|odp|dop)\b\.?\s*", re.I)
_NUMERIC = re.compile(r"(?:(?:GMT|UTC|UT|Z)\s*)?([+-])\s?(?:(\d{1,2})(?::?(\d{2}))?)(?![\d:])", re.I)
_MINUSES = str.maketrans({"\u2212": "-", "\u2013": "-"})
_WEST_MAX_MINUTES, _EAST_MAX_MINUTES = 12 * 60, 14 * 60


def read_date(value: str, defects: Defects | None = None) -> datetime | None:
    """The time in a Date header, aware, in UTC. None: it has no certain time between 1970 and 2100.

    A date without a zone is read as UTC (RFC 5322 §4.3: unknown), with a defect.
    """
    value = value[:VALUE_MAX_CHARS].translate(_MINUSES)
    comments = _COMMENT.findall(value)
    value = _COLON.sub(":", " ".join(_COMMENT.sub(" ", value).split()).strip("\"' "))
    for form in _FORMS:
        if match := form.fullmatch(value):
            try:
                return _moment(match.groupdict(), comments, defects)
            except (ValueError, OverflowError, KeyError):
                return None
    return None


def _moment(said: dict[str, str | None], comments: list[str], defects: Defects | None) -> datetime | None:
    """Raises ValueError, OverflowError or KeyError if this is no date."""
    rest = f"{said.get('rest') or ''} {said.get('after') or ''}".strip(" ,;")
    hour = int(said["hour"] or "")
    if half := _HALF.match(rest):
        hour = _hour_of_24(hour, HALVES[half[1].lower().replace(".", "")])
        rest = rest[half.end() :].strip()
    second = int(said.get("second") or 0)
    if second > 60:  # 60 is a leap second, which `datetime` does not know
        raise ValueError("second")
    local = datetime(
        _year(said), *_month_and_day(said), hour, int(said["minute"] or ""), min(second, 59), tzinfo=UTC
    )
    if not rest and not any(_offset(each, local) is not None for each in comments):
        if defects is not None:
            defects.record(DefectCode.BAD_DATE, "no zone: read as UTC")
        return clean_date(local)
    offset = _offset(rest, local) if rest else next(
        found for each in comments if (found := _offset(each, local)) is not None
    )  # fmt: skip
    if offset is None:
        raise ValueError("zone")
    return clean_date(local.replace(tzinfo=timezone(timedelta(minutes=offset))))


def _hour_of_24(hour: int, half: int) -> int:
    if half == 0 and hour == 12:
        return 0
    if half == 0 and hour > 12:
        raise ValueError("16 AM")
    return hour + 12 if half == 12 and hour < 12 else hour


def _year(said: dict[str, str | None]) -> int:
    digits = said["year"] or ""
    if len(digits) in (2, 3):  # RFC 5322 §4.3: two digits below 50 are 20xx, all others 19xx
        return int(digits) + (2000 if len(digits) == 2 and int(digits) < 50 else 1900)
    return int(digits)


def _month_and_day(said: dict[str, str | None]) -> tuple[int, int]:
    if "either" in said:
        first, second = int(said["either"] or ""), int(said["other"] or "")
        if first > 12 or first == second:
            return second, first
        if second > 12:
            return first, second
        raise ValueError("3/4: March or April")
    month = said["month"] or ""
    return int(month) if month.isdecimal() else MONTHS[_plain(month)], int(said["day"] or "")


def _plain(word: str) -> str:
    """The word in lower case, without diacritics: `marz` and `brezna` are also March."""
    decomposed = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _offset(zone: str, local: datetime) -> int | None:
    """The offset of a zone in minutes east of Greenwich. None: it is not certain."""
    if match := _NUMERIC.match(zone):
        hours, minutes = int(match[2]), int(match[3] or 0)
        east = hours * 60 + minutes if match[1] == "+" else -(hours * 60 + minutes)
        return east if minutes < 60 and -_WEST_MAX_MINUTES <= east <= _EAST_MAX_MINUTES else None
    name = _plain(" ".join(zone.replace("_", " ").strip(" .;\"'").split()))
    if name in ZONES:
        return ZONES[name]
    if name in RULED_ZONES:
        return _by_rule(*RULED_ZONES[name], local)
    return _windows_offset(name, local)


def _by_rule(standard: int, rule: str, local: datetime) -> int | None:
    """The offset of a place whose clocks change during the year. None: in the hours of a change."""
    if rule == "eu":  # the last Sundays of March and October, 01:00 UTC
        since = 1996
        begin = _sunday(local.year, 3, 31) + timedelta(hours=1, minutes=standard)
        end = _sunday(local.year, 10, 31) + timedelta(hours=1, minutes=standard)
    else:  # the United States, 02:00 local
        since = 1987
        april_to_october = (
            local.year < 2007
        )  # since then from the second Sunday of March to the first of November
        begin = _sunday(local.year, *((4, 7) if april_to_october else (3, 14))) + timedelta(hours=2)
        end = _sunday(local.year, *((10, 31) if april_to_october else (11, 7))) + timedelta(hours=1)
    if local.year < since:
        return None
    if begin <= local < begin + timedelta(hours=1) or end <= local < end + timedelta(hours=1):
        return None
    return standard + 60 if begin < local < end else standard


def _sunday(year: int, month: int, last: int) -> datetime:
    day = datetime(year, month, last, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def _windows_offset(name: str, local: datetime) -> int | None:
    """The offset of a Windows zone. "Standard Time" names both the zone and its winter time, so in summer it is not
    certain."""
    for ending, is_summer in ((" standard time", False), (" daylight time", True), (" summer time", True)):
        if name.endswith(ending):
            standard, rule = WINDOWS_ZONES.get(name.removesuffix(ending), (None, ""))
            if standard is None or (is_summer and not rule):
                return None
            if is_summer:
                return standard + 60
            return standard if not rule or _by_rule(standard, rule, local) == standard else None
    return None
