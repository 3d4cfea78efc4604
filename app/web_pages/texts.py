"""The texts of the page on which the owner of a mailbox enters its password, in English and Czech."""

import re
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Texts:
    """The texts of one language. Values replace each `{…}` and are escaped."""

    title: str
    intro: str
    mailbox: str
    readers: str
    only_owner: str
    group_members: str
    chosen_groups: str
    server: str
    sending_server: str
    sending_username: str
    username: str
    folder: str
    target: str
    only_this_folder: str
    shared_folder: str
    encrypted: str
    plain: str
    trash_empties: str
    label: str
    hint: str
    check: str
    refused: str
    last_try: str
    unreachable: str
    certificate: str
    empty: str
    changed: str
    busy: str
    again: str
    accepted: str
    waiting: str
    nothing_waits: str
    will_move: str
    would_move: str
    source_missing: str
    target_missing: str
    same_folder: str
    sending_fails: str
    choose: str
    choose_none: str
    choose_all: str
    choose_since: str
    date_missing: str
    connect: str
    done_title: str
    done: str
    done_paused: str
    for_owner: str
    gone_title: str
    gone: str
    spent: str
    special_uses: dict[str, str]


def _bound(text: str) -> str:
    """The text with each one-letter word bound to the next word, as Czech typography requires."""
    return re.sub(r"\b([aikosuvz]) ", "\\1\u00a0", text, flags=re.IGNORECASE)


ENGLISH = Texts(
    title="Connect your mailbox to AyMINE",
    intro="AyMINE is going to download mail from one folder of this mailbox. Please check the settings below and enter"
    " the mailbox's password. If something is not right, enter nothing and tell the administrator of AyMINE.",
    mailbox="Mailbox",
    readers="Who will read its mail in AyMINE",
    only_owner="only the user {owner}",
    group_members="members of: {groups}",
    chosen_groups="members of the groups that the administrator chooses",
    server="Mail server",
    sending_server="Server for sending; it gets the same password",
    sending_username="User name for sending",
    username="User name",
    folder="Folder that is read",
    target="Folder that downloaded mail is moved to",
    only_this_folder="No other folder is read, and nobody but you can choose another one.",
    shared_folder="No other folder is read. The administrator of AyMINE can choose another one later.",
    encrypted="The password is stored encrypted; AyMINE's administrators cannot see it.",
    plain="A connection to these servers is not encrypted. That is meant for servers inside the company's own network.",
    trash_empties="Downloaded mail is moved to the trash, which many providers empty by themselves after 7 to 30 days."
    " It stays in AyMINE.",
    label="Password of the mailbox",
    hint="If two-step verification is turned on (Gmail, iCloud, Seznam and others), enter an app password, which your"
    " provider's settings make for you.",
    check="Check the password",
    refused="The mail server did not accept this user name and password. Tries left: {tries}.",
    last_try="This is the last try; after it the link stops working.",
    unreachable="The mail server cannot be reached at the moment. Nothing was stored; please try again later.",
    certificate="The mail server could not prove its identity, so the password was not sent. Please tell the"
    " administrator of AyMINE.",
    empty="Please enter the password.",
    changed="The settings have been changed meanwhile. Please check them again.",
    busy="Too many tries in a short time. Please wait a minute and try again.",
    again="That did not work. Please enter the password again.",
    accepted="The mail server accepted the password.",
    waiting="Messages waiting in the folder {folder}: {count}.",
    nothing_waits="Nothing waits in the folder {folder} at the moment.",
    will_move="Once the mailbox is connected, they are downloaded and then moved on the server to the folder {target}.",
    would_move="What is downloaded is moved on the server to the folder {target}.",
    source_missing="There is no folder {folder} in the mailbox yet. Create it in your mail program; mail is downloaded"
    " as soon as the folder is there.",
    target_missing="There is no folder {folder} in the mailbox, to which downloaded mail is to be moved. Nothing is"
    " downloaded until you create it in your mail program.",
    same_folder="Mail is to be moved to the very folder that is read. Nothing is downloaded until the administrator of"
    " AyMINE has changed that.",
    sending_fails="The server for sending did not accept the login, or cannot be reached. Until this is fixed, no mail"
    " can be sent from this mailbox in AyMINE. Downloading works.",
    choose="What about the mail that is in the folder already?",
    choose_none="Leave it; download only what comes from now on",
    choose_all="Download all of it",
    choose_since="Download what came since",
    date_missing="Please choose what to do with the mail that is in the folder already; for the last option also enter"
    " a date.",
    connect="Connect the mailbox",
    done_title="The mailbox is connected",
    done="AyMINE downloads mail of {mailbox} from the folder {folder}. You may close this page; the link cannot be used"
    " again.",
    done_paused="The password of {mailbox} is stored. The administrator of AyMINE has paused downloading from the folder"
    " {folder} for now. You may close this page; the link cannot be used again.",
    for_owner="The servers of this mailbox were changed. Only its owner can enter the password now, in the application.",
    gone_title="This link is not valid",
    gone="The link can be used once and for 24 hours. If you have connected the mailbox already, all is well. Otherwise"
    " please ask the administrator of AyMINE for a new link.",
    spent="Too many passwords were refused. Please check the password with your provider, and ask the administrator of"
    " AyMINE for a new link.",
    special_uses={
        "\\All": "All Mail",
        "\\Archive": "Archive",
        "\\Drafts": "Drafts",
        "\\Flagged": "Flagged",
        "\\Junk": "Junk",
        "\\Sent": "Sent",
        "\\Trash": "Trash",
    },
)

_CZECH = Texts(
    title="Připojení vaší schránky k AyMINE",
    intro="AyMINE bude stahovat poštu z jedné složky této schránky. Zkontrolujte, prosím, nastavení a zadejte heslo"
    " ke schránce. Pokud něco nesouhlasí, nic nezadávejte a dejte vědět správci AyMINE.",
    mailbox="Schránka",
    readers="Kdo bude její poštu v AyMINE číst",
    only_owner="pouze uživatel {owner}",
    group_members="členové: {groups}",
    chosen_groups="členové skupin, které určí správce",
    server="Poštovní server",
    sending_server="Server pro odesílání; dostane stejné heslo",
    sending_username="Uživatelské jméno pro odesílání",
    username="Uživatelské jméno",
    folder="Složka, která se čte",
    target="Složka, kam se stažená pošta přesouvá",
    only_this_folder="Žádná jiná složka se nečte a jinou můžete zvolit jen vy.",
    shared_folder="Žádná jiná složka se nečte. Správce AyMINE může později zvolit jinou.",
    encrypted="Heslo se uloží zašifrované a správci AyMINE ho neuvidí.",
    plain="Spojení s těmito servery není šifrované. To je určeno jen pro servery uvnitř firemní sítě.",
    trash_empties="Stažená pošta se přesouvá do koše, který se u mnoha poskytovatelů po 7 až 30 dnech sám vysype."
    " V AyMINE zůstane.",
    label="Heslo ke schránce",
    hint="Máte-li zapnuté dvoufázové ověření (Gmail, iCloud, Seznam a další), zadejte heslo aplikace, které si vytvoříte"
    " v nastavení u svého poskytovatele.",
    check="Ověřit heslo",
    refused="Poštovní server toto jméno a heslo nepřijal. Zbývá pokusů: {tries}.",
    last_try="Je to poslední pokus; potom odkaz přestane platit.",
    unreachable="Poštovní server teď není dostupný. Nic se neuložilo; zkuste to, prosím, později.",
    certificate="Poštovní server neprokázal svou totožnost, proto mu heslo nebylo odesláno. Dejte, prosím, vědět správci"
    " AyMINE.",
    empty="Zadejte, prosím, heslo.",
    changed="Nastavení se mezitím změnilo. Zkontrolujte ho, prosím, znovu.",
    busy="Příliš mnoho pokusů za krátkou dobu. Počkejte minutu a zkuste to znovu.",
    again="To se nepodařilo. Zadejte, prosím, heslo znovu.",
    accepted="Poštovní server heslo přijal.",
    waiting="Ve složce {folder} čeká zpráv: {count}.",
    nothing_waits="Ve složce {folder} teď nic nečeká.",
    will_move="Po připojení schránky se stáhnou a na serveru se přesunou do složky {target}.",
    would_move="Co se stáhne, přesune se na serveru do složky {target}.",
    source_missing="Složka {folder} ve schránce zatím není. Vytvořte ji ve svém poštovním programu; pošta se začne"
    " stahovat, jakmile složka bude existovat.",
    target_missing="Ve schránce není složka {folder}, kam se má stažená pošta přesouvat. Dokud ji ve svém poštovním"
    " programu nevytvoříte, nic se nestáhne.",
    same_folder="Pošta se má přesouvat do téže složky, ze které se čte. Dokud to správce AyMINE nezmění, nic se"
    " nestáhne.",
    sending_fails="Server pro odesílání pošty přihlášení nepřijal, nebo není dostupný. Dokud se to neopraví, nelze"
    " z této schránky v AyMINE odesílat. Stahování funguje.",
    choose="Co s poštou, která už ve složce je?",
    choose_none="Nechat ji být a stahovat jen nově příchozí",
    choose_all="Stáhnout všechnu",
    choose_since="Stáhnout, co přišlo od",
    date_missing="Vyberte, co s poštou, která už ve složce je; u poslední možnosti vyplňte i datum.",
    connect="Připojit schránku",
    done_title="Schránka je připojena",
    done="AyMINE stahuje poštu schránky {mailbox} ze složky {folder}. Stránku můžete zavřít; odkaz už nelze použít"
    " znovu.",
    done_paused="Heslo ke schránce {mailbox} je uloženo. Stahování ze složky {folder} správce AyMINE zatím pozastavil."
    " Stránku můžete zavřít; odkaz už nelze použít znovu.",
    for_owner="Servery této schránky byly změněny. Heslo teď může zadat jen její vlastník, a to v aplikaci.",
    gone_title="Odkaz neplatí",
    gone="Odkaz lze použít jednou a platí 24 hodin. Pokud jste už schránku připojili, je vše v pořádku. Jinak, prosím,"
    " požádejte správce AyMINE o nový.",
    spent="Příliš mnoho hesel bylo odmítnuto. Ověřte si, prosím, heslo u svého poskytovatele a o nový odkaz požádejte"
    " správce AyMINE.",
    special_uses={
        "\\All": "Všechna pošta",
        "\\Archive": "Archiv",
        "\\Drafts": "Koncepty",
        "\\Flagged": "S hvězdičkou",
        "\\Junk": "Nevyžádaná pošta",
        "\\Sent": "Odeslané",
        "\\Trash": "Koš",
    },
)

_BOUND: dict[str, Any] = {name: _bound(text) for name, text in vars(_CZECH).items() if isinstance(text, str)}
CZECH = replace(_CZECH, **_BOUND)

TEXTS = {"en": ENGLISH, "cs": CZECH}
