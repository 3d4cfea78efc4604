"""What servers say when they refuse a login, and what it means: texts of providers as users have reported them."""

import pytest

from app.adapters import login_refusals
from app.adapters.login_refusals import IMAP_CODES, PHRASES, folded

WORDS = {
    # Gmail
    "[ALERT] Too many simultaneous connections. (Failure)": "too_many_connections",
    "[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)": "throttled",
    "[ALERT] Application-specific password required: https://support.google.com/x (Failure)": "application_password_needed",
    "[ALERT] Please log in via your web browser: https://support.google.com/x (Failure)": "web_login_needed",
    "[ALERT] Web login required (Failure)": "web_login_needed",
    "[ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page": "imap_switched_off",
    "[ALERT] IMAP access is disabled for your domain. Please contact your domain administrator": "imap_switched_off",
    "System Error (Failure)": "mail_server_unavailable",
    "Temporary System Problem (Failure)": "mail_server_unavailable",
    # Microsoft
    "Server Unavailable. 15": "mail_server_unavailable",
    "User is authenticated but not connected.": "mail_server_unavailable",
    "LOGIN failed. Account is blocked. Login to your account via a web browser": "web_login_needed",
    # Yahoo, iCloud, Zoho
    "LOGIN Server error - Please try again later": "mail_server_unavailable",
    "LOGIN Rate limit hit.": "throttled",
    "Service temporarily unavailable": "mail_server_unavailable",
    "You are yet to enable IMAP for your account. Please contact your administrator": "imap_switched_off",
    # Dovecot, Courier, Kerio, and in Czech
    "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)": "too_many_connections",
    "Temporary authentication failure. [imap1:2026-11-25 10:00:00]": "mail_server_unavailable",
    "Too many wrong passwords, the account is locked for 15 minutes": "throttled",
    "Příliš mnoho současných připojení": "too_many_connections",
    "Služba je dočasně nedostupná, zkuste to později": "mail_server_unavailable",
    "SERVER JE PŘETÍŽEN": "mail_server_unavailable",
    "Účet je zablokován": "access_denied",
    "IMAP není povolen": "imap_switched_off",
    "Please enable IMAP access in your account settings first.": "imap_switched_off",
    "Wrong password. Please enable IMAP access, too": "login_refused",
}
PASSWORDS = [
    "Invalid credentials (Failure)",
    "LOGIN Invalid credentials or IMAP is disabled",
    "LOGIN failed.",
    "AUTHENTICATE failed.",
    "Login fail. Account is abnormal, service is not open, password is incorrect, or system is busy",
    "Špatné jméno nebo heslo",
    "Chybné heslo",
    "",
]


@pytest.mark.parametrize(("text", "code"), WORDS.items())
def test_words_say_what_is_the_matter(text: str, code: str) -> None:
    meant = login_refusals.by_words(text, username="jana@firma.cz")
    assert meant is not None
    assert meant.code == code


@pytest.mark.parametrize("text", [each for each in PASSWORDS if "IMAP" not in each])
def test_other_words_are_about_the_password(text: str) -> None:
    meant = login_refusals.by_words(text, username="jana@firma.cz")
    assert meant is None or meant.code == "login_refused"


@pytest.mark.parametrize("text", PASSWORDS)
def test_a_code_about_the_password_outweighs_all_words(text: str) -> None:
    meant = login_refusals.by_code("AUTHENTICATIONFAILED", text, username="jana")
    assert meant is not None
    assert meant.code == "login_refused"


@pytest.mark.parametrize("name", ["busy", "busy@firma.cz", "info@busy.cz", "BUSY@firma.cz", "too many@x.cz"])
def test_a_user_name_that_the_server_repeats_says_nothing(name: str) -> None:
    assert login_refusals.by_words(f"LOGIN of {name.lower()} failed", username=name) is None


def test_a_short_user_name_takes_nothing_out_of_the_words() -> None:
    meant = login_refusals.by_words("Service temporarily unavailable", username="a")
    assert meant is not None
    assert meant.code == "mail_server_unavailable"


def test_words_make_a_code_more_exact_and_never_turn_it_round() -> None:
    def code(given: str, text: str) -> str | None:
        meant = login_refusals.by_code(given, text, username="jana")
        return meant.code if meant is not None else None

    assert code("UNAVAILABLE", "Maximum number of connections exceeded") == "too_many_connections"
    assert code("UNAVAILABLE", "wrong password") == "mail_server_unavailable"
    assert code("NOPERM", "IMAP access is disabled") == "imap_switched_off"
    assert code("EXPIRED", "try again later") == "password_expired"
    assert code("X-UNKNOWN", "try again later") is None


SMTP = {
    "535 5.7.8": ("Username and Password not accepted", "login_refused"),
    "535 5.7.3": ("Authentication unsuccessful", None),
    "535 5.7.139": (
        "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant",
        "smtp_switched_off",
    ),
    "535 5.7.0": ("(#AUTH005) Too many bad auth attempts.", "throttled"),
    "534 5.7.9": ("Application-specific password required", "application_password_needed"),
    "534 5.7.14": ("Please log in via\n5.7.14 your web browser and then try again", "web_login_needed"),
    "538 5.7.11": ("Encryption required", "privacy_required"),
    "530 5.7.0": ("Must issue a STARTTLS command first", "privacy_required"),
    "454 4.7.0": ("Too many login attempts, please try again later", "throttled"),
    "504 5.5.4": ("Unrecognized authentication type", "no_login_method"),
    "432": ("4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "throttled"),
}


@pytest.mark.parametrize("codes", SMTP)
def test_a_refusal_over_smtp_is_what_its_codes_and_words_say(codes: str) -> None:
    text, code = SMTP[codes]
    meant = login_refusals.by_smtp_codes(codes.split(), f"{codes} {text}", username="jana")
    assert (meant.code if meant is not None else None) == code


def test_the_phrases_are_written_as_they_are_looked_for() -> None:
    assert [phrase for phrase, _ in PHRASES if folded(phrase) != phrase] == []
    assert [code for code in IMAP_CODES if code.upper() != code] == []
