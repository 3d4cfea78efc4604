"""The mails that arrive in the demo."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from app import clock


@dataclass(frozen=True)
class SampleMail:
    """A mail that somebody writes to the company."""

    sender: str
    recipient: str
    subject: str
    text: str
    html: str | None = None
    attachment: tuple[str, bytes] | None = None

    def raw(self) -> bytes:
        """The mail as it arrives now."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = self.recipient
        message["Subject"] = self.subject
        message["Date"] = format_datetime(clock.utc_now())
        message["Message-ID"] = make_msgid(domain="zakaznik.example")
        message.set_content(self.text)
        if self.html is not None:
            message.add_alternative(self.html, subtype="html")
        if self.attachment is not None:
            name, content = self.attachment
            message.add_attachment(content, maintype="application", subtype="pdf", filename=name)
        return bytes(message).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


INFO = "info@firma.cz"
JANA = "jana.novakova@firma.cz"
MAREK = "marek.dvorak@firma.cz"

TO_INFO = (
    SampleMail(
        "Petr Dvořák <petr.dvorak@zakaznik.example>",
        INFO,
        "Objednávka 2026/0815: 12 ks židlí",
        "Dobrý den,\n\nobjednáváme 12 ks židlí podle nabídky.\n\nPetr Dvořák\n",
        attachment=("Objednávka č. 815.pdf", b"%PDF-1.4 sample\n"),
    ),
    SampleMail(
        "Eva Malá <eva.mala@zakaznik.example>",
        INFO,
        "Reklamace: vrže to",
        "Dobrý den,\n\nžidle vrže. Co s tím?\n\nEva Malá\n",
        html="<p>Dobrý den,</p><p>židle <b>vrže</b>.<script>alert(1)</script> Co s tím?</p>",
    ),
    SampleMail(
        "Jan Svoboda <jan.svoboda@zakaznik.example>",
        INFO,
        "Dotaz na otevírací dobu",
        "Máte otevřeno v sobotu?\n",
    ),
)
FOR_AYMINE = SampleMail(
    "Karel Nový <karel.novy@dodavatel.example>", JANA, "Smlouva k podpisu", "Posílám smlouvu.\n"
)
TO_MAREK = SampleMail(
    "Lucie Kučerová <lucie.kucerova@dodavatel.example>", MAREK, "Termín dodávky", "Dodáme ve středu.\n"
)
PRIVATE = SampleMail("Maminka <maminka@rodina.example>", JANA, "Nedělní oběd", "Přijďte ve dvanáct.\n")


def later(number: int) -> SampleMail:
    """One of the mails that arrive later."""
    return SampleMail(
        f"Zákazník {number} <zakaznik{number}@zakaznik.example>",
        INFO,
        f"Další dotaz č. {number}",
        "Dobrý den, ještě jeden dotaz.\n",
    )
