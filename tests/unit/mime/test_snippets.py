"""Snippets show what is new in a mail, in the languages and layouts of the mailers that people use."""

import re

import pytest

from app.mime.snippet import make_snippet
from tests.support.sandboxed_reader import parse_mail
from tests.unit.mime.mails import assert_linear, mail

ATTRIBUTIONS = [
    "Dne 11. 3. 2024 v 10:00 Petr napsal(a):",
    "Dne po 11. 3. 2024 10:00 uživatel Petr Novák <petr@firma.cz> napsal:",
    "Dne 11.3.2024 v 10:00 Petr Novák\nnapsal(a):",
    "po 3. 2. 2025 v 10:11 odesílatel Jan Novák <jan@firma.cz> napsal:",
    "čt 6. 2. 2025 v 10:11 odesílatel Jan Novák <jan.novak@velmi-dlouha-domena.cz>\nnapsal:",
    "út 4. 2. 2025 v 10:11 odesílatel Jan Novák, Firma s.r.o. <\njan.novak@velmi-dlouha-domena.cz> napsal:",
    "Jan Novák píše v Po 03. 02. 2025 v 10:11 +0100:",
    "Dňa 3. 2. 2025 o 10:11 Jan Novák napísal(a):",
    "po 3. 2. 2025 o 10:11 Jan Novák <jan@firma.sk> napísal(a):",
    "Am 03.02.25 um 10:11 schrieb Jan Novák:",
    "Am Mo., 3. Feb. 2025 um 10:11 Uhr schrieb Jan Novák <jan@firma.de>:",
    "Am Mo., 3. Feb. 2025 um 10:11 Uhr schrieb Jan Novák <\njan@firma.de>:",
    "W dniu 3.02.2025 o 10:11, Jan pisze:",
    "pon., 3 lut 2025 o 10:11 Jan Nowak <jan@firma.pl> napisał(a):",
    "Dnia 3 lutego 2025 10:11 Jan Nowak <jan@firma.pl> napisał(a):",
    "On Mon, Feb 3, 2025 at 10:11 AM Jan Novak <jan@firma.cz> wrote:",
    "On Mon, Feb 3, 2025 at 10:11 AM Jan Novak via Podpora\n<podpora@firma.cz>\nwrote:",
    "On 03/02/2025 10:11, Jan wrote:",
    "Le 03/02/2025 à 10:11, Jan a écrit :",
    "Le lun. 3 févr. 2025 à 10:11, Jan <jan@firma.fr> a écrit\u00a0:",
    "Il 15/10/2019 16.39, Petr ha scritto:",
    "Il giorno lun 3 feb 2025 alle ore 10:11 Jan <jan@firma.it> ha\nscritto:",
    "El 3/2/25 a las 10:11, Jan escribió:",
    "El lun, 3 feb 2025 a las 10:11, Jan (<jan@firma.es>) escribió:",
    "2016-03-07 10:11 GMT+01:00 Jan Novák <jan@firma.cz>:",
    "3. 2. 2025 v 10:11, Jan Novák <jan@firma.cz>:",
    "3.2.2025 10:11 Jan Novák <jan@firma.cz>:",
    "03/02/2025 à 10:11, Jan <jan@firma.fr> :",
    "Jan Novák <jan@firma.cz> napsal:",
]
HEADERS = [
    "---------- Původní e-mail ----------\nOd: Jan Novák <jan@firma.cz>\nKomu: info@firma.cz\nDatum: 3. 2. 2025",
    "-----Original Message-----\nFrom: Jan\nSent: Monday\nTo: Petr\nSubject: x",
    "----- Původní zpráva -----\nOd: Jan",
    "Od: Jan Novák <jan@firma.cz>\nOdesláno: pondělí 3. února 2025 10:11\nKomu: Petr\nPředmět: Dotaz",
    "From: Jan Novak <jan@firma.cz>\nSent: Monday\nTo: Petr\nSubject: Question",
    "*From:* Jan Novak <jan@firma.cz>\n*Sent:* Monday\n*To:* Petr",
    "Von: Jan <jan@firma.de>\nGesendet: Montag\nAn: Petr\nBetreff: Frage",
    "De : Jan <jan@firma.fr>\nEnvoyé : lundi 3 février\nÀ : Petr\nObjet : Question",
    "Da: Jan <jan@firma.it>\nInviato: lunedì\nA: Petr\nOggetto: Domanda",
    "De: Jan <jan@firma.es>\nEnviado: lunes\nPara: Petr\nAsunto: Pregunta",
    "Od: Jan <jan@firma.pl>\nWysłano: poniedziałek\nDo: Petr\nTemat: Pytanie",
    "Od: Jan <jan@firma.sk>\nOdoslané: pondelok\nKomu: Petr\nPredmet: Otázka",
    "________________________________\nFrom: Jan <jan@firma.cz>\nSent: Monday",
]


def snippet(text: str) -> str:
    """What a list shows of a mail with this text."""
    return parse_mail(mail("Content-Type: text/plain; charset=utf-8", body=text)).snippet


@pytest.mark.parametrize("above", ATTRIBUTIONS + HEADERS)
def test_an_answer_above_what_is_answered_is_the_snippet(above: str) -> None:
    assert snippet(f"Dobrý den,\nsouhlasím.\n\n{above}\n\nStará otázka?\n") == "Dobrý den, souhlasím."
    assert snippet(f"Dobrý den,\nsouhlasím.\n{above}\n> Stará otázka?\n") == "Dobrý den, souhlasím."


@pytest.mark.parametrize("above", [*ATTRIBUTIONS, "Petr wrote:", "Petr Novák napsal:", "Quoting Jan Novák:"])
def test_an_answer_below_the_quotation_is_the_snippet(above: str) -> None:
    assert snippet(f"{above}\n> Kdy?\n> Kde?\n\nVe středu.\n") == "Ve středu."
    assert snippet(f"{above}\n\n>> Kdy?\n> Kde?\nVe středu.\n> A v kolik?\nV devět.") == "Ve středu. V devět."


@pytest.mark.parametrize(
    "text",
    [
        "Dne 3. 2. 2025 přijedu a kolega také.",
        "Jan mi napsal:\npřijedu zítra",
        "On Monday we wrote:\nnothing at all",
        "Od: prvního ledna platí nový ceník.\nVše ostatní zůstává.",
        "From: Prague\nwith regards",
        "Sent from Prague yesterday, the parcel is here.",
        "Nadpis\n____________________________\nText pod čarou",
        "می‌خواهم",
        "👩‍👩‍👧 a my",
    ],
)
def test_what_only_looks_quoted_stays(text: str) -> None:
    assert snippet(text) == " ".join(text.split())


@pytest.mark.parametrize(
    "signature",
    [
        "Sent from my iPhone",
        "Odesláno z mého iPhonu",
        "Odesláno z iPhonu",
        "Odesláno z Outlooku pro Android",
        "Odoslané z iPhonu",
        "Von meinem iPhone gesendet",
        "Gesendet von Mail für Windows",
        "Wysłane z iPhone'a",
        "Envoyé de mon iPhone",
        "Inviato da iPhone",
        "Enviado desde mi iPhone",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Získat Outlook pro Android",
        "-- \nJan Novák\nředitel",
        "--\nJan Novák",
        "[cid:image001.png@01DB5155.249583D0]",
    ],
)
def test_signatures_are_not_new(signature: str) -> None:
    assert snippet(f"Ano.\n\n{signature}") == "Ano."


@pytest.mark.parametrize(
    "padding",
    ["\u034f\u200c\u00a0" * 50, "\u200b" * 80, "\u00ad\u034f " * 40, "\u2007\u034f\u200c " * 9, "\ufeff\u2060\u3164\u2800",
     "\u200d\u200c\u00a0"],
)  # fmt: skip
def test_padding_that_nobody_sees_is_not_in_the_snippet(padding: str) -> None:
    assert snippet(f"{padding}Potvrzení{padding}\nobjed\u00adnávky{padding}") == "Potvrzení objednávky"


@pytest.mark.parametrize("above", [*HEADERS, *ATTRIBUTIONS])
@pytest.mark.parametrize("quote", ["", "> "])
def test_of_a_mail_that_is_only_passed_on_the_snippet_is_what_it_passes_on(above: str, quote: str) -> None:
    assert (
        snippet(f"{above}\n\n{quote}Dobrý den,\n{quote}smlouva > faktura.\n")
        == "Dobrý den, smlouva > faktura."
    )
    quoted = "".join(f"> {line}\n" for line in f"{above}\n\nSmlouva".split("\n"))
    assert snippet(quoted) == "Smlouva"


def test_of_a_mail_with_nothing_but_a_header_the_snippet_is_the_whole() -> None:
    assert snippet("From: Jan\nSent: Monday\nTo: Petr") == "From: Jan Sent: Monday To: Petr"


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"])
@pytest.mark.parametrize("kind", ["plain", "html", "enriched"])
def test_no_sender_marks_text_as_quoted_or_as_a_link(mark: str, kind: str) -> None:
    parsed = parse_mail(mail(f"Content-Type: text/{kind}; charset=utf-8", body=f"{mark}Zaplaťte{mark} ihned"))
    assert (parsed.text, parsed.snippet) == ("Zaplaťte ihned", "Zaplaťte ihned")
    assert mark not in (parsed.html or "")


def test_no_sender_marks_text_by_a_character_reference() -> None:
    body = "&#xfdd2;Zaplaťte&#64979; <b title='&#xfdd4;'>ihned</b> &amp;#xfdd0;.&amp;amp;#xfdd0;"
    parsed = parse_mail(mail("Content-Type: text/html; charset=utf-8", body=body))
    assert parsed.snippet.startswith("Zaplaťte ihned")
    assert not re.search("[\ufdd0-\ufdd4]", f"{parsed.text}{parsed.html}{parsed.snippet}")


def test_a_signature_above_the_quotation_does_not_hide_the_answer_below() -> None:
    assert snippet("-- \n> Kdy?\n\nVe středu.") == "Ve středu."


@pytest.mark.parametrize(
    "line",
    ["On 1.1 ", "Dne 1. 1. 2024 ", "napsal ", "\u200c\u200d", "\ufdd2", "\ufdd0\n", "> ", ">", "> On 1:1 wrote:\n", "From: x\n", "Od: a\nKomu: b\n", "On 1:1 wrote ",
     "a wrote:\n", "<https:", "[cid:", "-" * 39 + "\n", "\u200c ", "Sent from iPhone"],
)  # fmt: skip
@pytest.mark.slow
def test_hostile_text_costs_linear_time(line: str) -> None:
    assert_linear(make_snippet, line * (1_000_000 // len(line)))
