"""The names of months and time zones in Date headers: English by RFC 5322, others as mailers write them.

A name with several meanings (IST: India, Israel, Ireland; AST; SST; the military letters, RFC 5322 §4.3) is in no table:
such a date is unknown.
"""

_NAMES_OF_MONTHS = (
    # English · Czech · Slovak · Polish · German · French · Italian · Spanish, without diacritics
    "jan january janvier leden ledna led januar styczen stycznia sty janv janner gennaio gen enero ene",
    "feb february unor unora uno februar luty lutego lut fevrier fevr fev febbraio febrero",
    "mar march brezen brezna bre marec marca marzec marz mrz mars marzo maerz",
    "apr april duben dubna dub kwiecien kwietnia kwi avril avr aprile abril abr",
    "may mai kveten kvetna kve maj maja mag maggio mayo",
    "jun june cerven cervna cvn juna juni juin giugno giu junio czerwiec czerwca cze",
    "jul july cervenec cervence cvc jula juli juillet juil luglio lug julio lipiec lipca lip",
    "aug august srpen srpna srp augusta sierpien sierpnia sie aout agosto ago",
    "sep sept september zari septembra wrzesien wrzesnia wrz septembre settembre set septiembre",
    "oct october rijen rijna rij oktober oktobra okt pazdziernik pazdziernika paz octobre ottobre ott octubre",
    "nov november listopad listopadu lis novembra listopada novembre noviembre",
    "dec december prosinec prosince pro decembra grudzien grudnia gru dezember dez decembre dicembre diciembre dic",
)
MONTHS = {name: number for number, names in enumerate(_NAMES_OF_MONTHS, 1) for name in names.split()}

HALVES = {"am": 0, "dop": 0, "pm": 12, "odp": 12}

# Minutes east of Greenwich. RFC 5322 §4.3 defines the American ones.
ZONES = {
    "z": 0, "ut": 0, "gmt": 0, "utc": 0, "wet": 0, "greenwich mean time": 0, "coordinated universal time": 0,
    "est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420,
    "akst": -540, "akdt": -480, "hst": -600, "nst": -210, "ndt": -150, "adt": -180, "brt": -180,
    "cet": 60, "met": 60, "mez": 60, "sec": 60, "west": 60, "bst": 60, "cest": 120, "mest": 120, "mesz": 120,
    "selc": 120, "met dst": 120, "cet dst": 120, "eet": 120, "sast": 120, "eest": 180, "eet dst": 180, "msk": 180,
    "msd": 240, "pkt": 300, "ict": 420, "wib": 420, "hkt": 480, "sgt": 480, "awst": 480, "jst": 540, "kst": 540,
    "acst": 570, "aest": 600, "acdt": 630, "aedt": 660, "nzst": 720, "nzdt": 780,
    "central european time": 60, "central european summer time": 120, "central european standard time": 60,
    "western european time": 0, "western european summer time": 60,
    "eastern european time": 120, "eastern european summer time": 180,
    "mitteleuropaische zeit": 60, "mitteleuropaische sommerzeit": 120,
    "stredoevropsky cas": 60, "stredoevropsky letni cas": 120, "british summer time": 60, "japan standard time": 540,
}  # fmt: skip

_CENTRAL_EUROPE = (
    "prague bratislava berlin vienna warsaw budapest paris rome madrid brussels amsterdam zurich copenhagen "
    "stockholm oslo ljubljana zagreb luxembourg"
)
# Places: the offset in winter, and the rule by which the clocks change.
RULED_ZONES: dict[str, tuple[int, str]] = {
    **{f"europe/{city}": (60, "eu") for city in _CENTRAL_EUROPE.split()},
    "europe/london": (0, "eu"), "europe/dublin": (0, "eu"), "europe/lisbon": (0, "eu"),
    "europe/helsinki": (120, "eu"), "europe/athens": (120, "eu"), "europe/bucharest": (120, "eu"),
    "america/new york": (-300, "us"), "america/chicago": (-360, "us"), "america/denver": (-420, "us"),
    "america/los angeles": (-480, "us"), "est5edt": (-300, "us"), "cst6cdt": (-360, "us"),
    "mst7mdt": (-420, "us"), "pst8pdt": (-480, "us"),
}  # fmt: skip

# Windows: the words before "Standard Time" and "Daylight Time". There is no rule if the clocks never change.
WINDOWS_ZONES: dict[str, tuple[int, str]] = {
    "gmt": (0, "eu"), "greenwich": (0, ""), "w. europe": (60, "eu"), "west europe": (60, "eu"),
    "western europe": (60, "eu"), "central europe": (60, "eu"), "central european": (60, "eu"),
    "romance": (60, "eu"), "w. central africa": (60, ""), "e. europe": (120, "eu"), "fle": (120, "eu"),
    "gtb": (120, "eu"), "south africa": (120, ""), "e. africa": (180, ""), "arab": (180, ""), "arabian": (240, ""),
    "west asia": (300, ""), "india": (330, ""), "nepal": (345, ""), "se asia": (420, ""), "china": (480, ""),
    "singapore": (480, ""), "w. australia": (480, ""), "taipei": (480, ""), "tokyo": (540, ""), "korea": (540, ""),
    "e. australia": (600, ""), "eastern": (-300, "us"), "central": (-360, "us"), "mountain": (-420, "us"),
    "pacific": (-480, "us"), "us mountain": (-420, ""), "hawaiian": (-600, ""), "alaskan": (-540, "us"),
    "atlantic": (-240, "us"), "sa pacific": (-300, ""), "argentina": (-180, ""),
}  # fmt: skip
