"""The mails of the benchmark, the same in every run."""

import base64
import random
from collections.abc import Iterator
from itertools import islice

SEED = 20_260_101
# Share in percent, and approximate size.
KINDS = ((60, "text"), (30, "html"), (9, "attachment"), (1, "large"))
WORDS = [
    "objednávka",
    "faktura",
    "dodací",
    "list",
    "reklamace",
    "zboží",
    "židle",
    "stůl",
    "termín",
    "cena",
    "sleva",
    "děkujeme",
    "prosíme",
    "zašlete",
    "potvrzení",
    "adresa",
    "telefon",
    "pondělí",
    "úterý",
    "středa",
    "zákazník",
    "smlouva",
    "nabídka",
    "poptávka",
    "množství",
    "kusů",
]


def mails(count: int) -> Iterator[bytes]:
    """60 % text of 4 kB, 30 % HTML of 40 kB, 9 % with an attachment of 300 kB, 1 % of 3 MB, in random order."""
    random_ = random.Random(SEED)
    kinds = [kind for share, kind in KINDS for _ in range(share)]
    for number in range(count):
        if number % 100 == 0:
            random_.shuffle(kinds)
        yield _mail(random_, number, kinds[number % 100])


def _mail(random_: random.Random, number: int, kind: str) -> bytes:
    header = (
        f"Return-Path: <zakaznik{number}@example.com>\r\n"
        "Received: from mail.example.com (mail.example.com [192.0.2.1]) by mx.firma.cz; "
        "Mon, 5 Jan 2026 10:00:00 +0100\r\n"
        f"Message-ID: <{number}.{SEED}@example.com>\r\n"
        "Date: Mon, 5 Jan 2026 10:00:00 +0100\r\n"
        f"From: =?utf-8?q?Z=C3=A1kazn=C3=ADk?= <zakaznik{number}@example.com>\r\n"
        "To: objednavka@firma.cz\r\n"
        f"Subject: =?utf-8?q?Objedn=C3=A1vka_{number}?=\r\n"
        "MIME-Version: 1.0\r\n"
    )
    if kind == "text":
        return _joined(header, _text_part(_prose(random_, 3_500)))
    if kind == "html":
        return _joined(header, _alternative(random_, 1_500, 35_000))
    octets = 220_000 if kind == "attachment" else 2_200_000
    part = (
        'Content-Type: application/pdf; name="faktura.pdf"\r\n'
        'Content-Disposition: attachment; filename="faktura.pdf"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(random_.randbytes(octets)).decode().replace("\n", "\r\n")
    )
    body = "\r\n--mix\r\n".join(["", _text_part(_prose(random_, 2_000)), part]) + "\r\n--mix--\r\n"
    return _joined(header, 'Content-Type: multipart/mixed; boundary="mix"\r\n\r\n' + body)


def _alternative(random_: random.Random, text_chars: int, html_chars: int) -> str:
    rows: list[str] = []
    length = 0
    while length < html_chars:
        row = f'<tr><td style="padding:4px"><b>{_prose(random_, 60)}</b></td><td>{_prose(random_, 120)}</td></tr>'
        rows.append(row)
        length += len(row)
    html = "<html><body><table>" + "\r\n".join(rows) + "</table></body></html>"
    html_part = (
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + html + "\r\n"
    )
    body = "\r\n--alt\r\n".join(["", _text_part(_prose(random_, text_chars)), html_part]) + "\r\n--alt--\r\n"
    return 'Content-Type: multipart/alternative; boundary="alt"\r\n\r\n' + body


def _text_part(text: str) -> str:
    return (
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text + "\r\n"
    )


def _prose(random_: random.Random, chars: int) -> str:
    words = random_.choices(WORDS, k=chars // 7)
    return "\r\n".join(" ".join(islice(words, start, start + 10)) for start in range(0, len(words), 10))


def _joined(header: str, rest: str) -> bytes:
    return (header + rest).encode()
