"""INTERNALDATE.

    date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE      RFC 9051 §9

Domino sends `00-Jan-0000`, others zones of +9900: these are no dates. A date without a zone is none either, because the time
is unknown. Tolerated: one digit for the day, more than one space, a month in any case.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = tuple(month.capitalize() for month in _MONTHS)
_DATE = re.compile(
    rb"\s*+(\d{1,2})-([A-Za-z]{3})-(\d{4})\s++(\d{1,2}):(\d{2}):(\d{2})\s++([+-])(\d{2})(\d{2})\s*+\Z"
)
MAX_ZONE_HOURS = 14


def read_internal_date(octets: bytes) -> datetime | None:
    """The time in UTC. None: the octets contain no valid date."""
    found = _DATE.match(octets)
    if found is None:
        return None
    month = found[2].decode("ascii").lower()
    hours, minutes = int(found[8]), int(found[9])
    if month not in _MONTHS or hours > MAX_ZONE_HOURS or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    zone = timezone(-offset if found[7] == b"-" else offset)
    day, year, hour, minute, second = (int(found[each]) for each in (1, 3, 4, 5, 6))
    try:
        moment = datetime(year, _MONTHS.index(month) + 1, day, hour, minute, min(second, 59), tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
