"""The Date header. Own reader: `email.utils` takes year 0 for 2000 and overflows at year 99999999999."""

import re
from datetime import UTC, datetime, timedelta, timezone

from app.mime.text import clean_date

_MONTHS = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9,
           "oct": 10, "nov": 11, "dec": 12}  # fmt: skip
# RFC 5322 §4.3 obs-zone; any other word means "unknown", which is read as UTC.
_ZONES = {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480,
          "pdt": -420, "cet": 60, "cest": 120, "met": 60, "mest": 120, "bst": 60, "eet": 120, "eest": 180}  # fmt: skip
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:\.\d{1,9})?)?"
_ZONE = r"\s*(?P<zone>[+-]\d{4}|[+-]\d{2}:\d{2}|[A-Za-z]{1,5})?"
_MAIL = re.compile(
    r"(?:[^\W\d_]{1,20}\.?\s*,?\s*)?(?P<day>\d{1,2})[\s./-]+(?P<month>[A-Za-z]{3})[a-z]{0,6}\.?[\s/-]+"
    rf"(?P<year>\d{{1,11}}),?\s+{_TIME}{_ZONE}"
)
_ASCTIME = re.compile(
    rf"[A-Za-z]{{3,9}}\.?,?\s+(?P<month>[A-Za-z]{{3}})[a-z]{{0,6}}\s+(?P<day>\d{{1,2}}),?\s+{_TIME}{_ZONE}"
    r"\s+(?P<year>\d{4})"
)
_COMMENT = re.compile(r"\([^()]{0,100}\)")


def read_date(value: str) -> datetime | None:
    """The moment a Date header names, aware, in UTC; None where it names none between 1970 and 2100."""
    value = " ".join(_COMMENT.sub(" ", value[:200]).split())
    match = _MAIL.match(value) or _ASCTIME.match(value)
    try:
        if match is None:
            # ISO 8601 is not RFC 5322, but scripts write it.
            moment = datetime.fromisoformat(value)
            return clean_date(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        year = int(match["year"])
        digits = len(match["year"])
        if digits in (2, 3):  # RFC 5322 §4.3: two digits below 50 are 20xx, all others 19xx
            year += 2000 if digits == 2 and year < 50 else 1900
        zone = _offset(match["zone"])
        return zone and clean_date(
            datetime(
                year, _MONTHS.get(match["month"].lower(), 0), int(match["day"]),
                int(match["hour"]), int(match["minute"]), min(int(match["second"] or 0), 59), tzinfo=zone,
            )
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timezone | None:
    """The zone, UTC where it is not said or not known, None where it is none (more than 14 hours)."""
    if not zone or zone[0] not in "+-":
        return timezone(timedelta(minutes=_ZONES.get((zone or "").lower(), 0)))
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        return None
    return timezone(timedelta(minutes=(hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)))
