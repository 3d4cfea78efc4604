"""What the page says on which the owner of a mailbox enters its password, in English and Czech."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """One language. `{…}` are filled in; what is filled in is escaped."""

    title: str
    intro: str
    mailbox: str
    server: str
    username: str
    folder: str
    target: str
    only_this_folder: str
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
    accepted: str
    waiting: str
    nothing_waits: str
    will_move: str
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
    gone_title: str
    gone: str
    spent: str
    special_uses: dict[str, str]


ENGLISH = Texts(
    title="Connect your mailbox to AyMINE",
    intro="AyMINE is going to download mail from one folder of this mailbox. Please look at what has been set, and"
    " enter the mailbox's password.",
    mailbox="Mailbox",
    server="Mail server",
    username="User name",
    folder="Folder that is read",
    target="Folder that downloaded mail is moved to",
    only_this_folder="No other folder is read. The password is stored encrypted and is shown to nobody,"
    " administrators included.",
    label="Password of the mailbox",
    hint="With two-step verification (Gmail, iCloud, Seznam and others) enter an app password, which your"
    " provider's settings make for you.",
    check="Check the password",
    refused="The mail server did not accept this user name and password. Tries left: {tries}.",
    last_try="It is the last one: after it the link is no longer valid.",
    unreachable="The mail server cannot be reached at the moment. Nothing was stored; please try again later.",
    certificate="The mail server could not prove who it is, so the password was not sent. Please tell the"
    " administrator of AyMINE.",
    empty="Please enter the password.",
    changed="The settings have been changed meanwhile. Please look at them again.",
    busy="These were many tries in a short time. Please wait a minute and try again.",
    accepted="The mail server accepted the password.",
    waiting="Messages waiting in the folder {folder}: {count}.",
    nothing_waits="Nothing waits in the folder {folder} at the moment.",
    will_move="Once the mailbox is connected, they are downloaded and then moved on the server to the folder {target}.",
    source_missing="There is no folder {folder} in the mailbox yet. Create it in your mail program; mail is downloaded"
    " as soon as it is there.",
    target_missing="There is no folder {folder} in the mailbox, to which downloaded mail is to be moved. Nothing is"
    " downloaded until you create it in your mail program.",
    same_folder="The folder that is read and the one that mail is moved to are the same. Nothing is downloaded until"
    " the administrator of AyMINE has changed that.",
    sending_fails="The server for sending did not accept the login or cannot be reached: mail cannot be sent from"
    " AyMINE until that is mended. Downloading works.",
    choose="What about the mail that is in the folder already?",
    choose_none="Leave it; download only what comes from now on",
    choose_all="Download all of it",
    choose_since="Download what came since",
    date_missing="Please say what to do with the mail that is there, and the day if you choose one.",
    connect="Connect the mailbox",
    done_title="The mailbox is connected",
    done="AyMINE now downloads mail of {mailbox} from the folder {folder}. You may close this page; its link is used up.",
    gone_title="This link is not valid",
    gone="The link can be used once and for 24 hours. Please ask the administrator of AyMINE for a new one.",
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

CZECH = Texts(
    title="Připojení vaší schránky k AyMINE",
    intro="AyMINE bude stahovat poštu z jedné složky této schránky. Zkontrolujte, prosím, co je nastaveno, a zadejte"
    " heslo ke schránce.",
    mailbox="Schránka",
    server="Poštovní server",
    username="Uživatelské jméno",
    folder="Složka, která se čte",
    target="Složka, kam se stažená pošta přesouvá",
    only_this_folder="Žádná jiná složka se nečte. Heslo se uloží zašifrované a neuvidí ho nikdo, ani správce.",
    label="Heslo ke schránce",
    hint="Máte-li dvoufázové ověření (Gmail, iCloud, Seznam a další), zadejte heslo aplikace, které si vytvoříte"
    " v nastavení u svého poskytovatele.",
    check="Ověřit heslo",
    refused="Poštovní server toto jméno a heslo nepřijal. Zbývá pokusů: {tries}.",
    last_try="Je poslední: po něm odkaz přestane platit.",
    unreachable="Poštovní server teď není dostupný. Nic se neuložilo; zkuste to, prosím, později.",
    certificate="Poštovní server neprokázal svou totožnost, proto mu heslo nebylo odesláno. Dejte, prosím, vědět správci"
    " AyMINE.",
    empty="Zadejte, prosím, heslo.",
    changed="Nastavení se mezitím změnilo. Zkontrolujte ho, prosím, znovu.",
    busy="Bylo to mnoho pokusů za krátkou dobu. Počkejte, prosím, minutu a zkuste to znovu.",
    accepted="Poštovní server heslo přijal.",
    waiting="Ve složce {folder} čeká zpráv: {count}.",
    nothing_waits="Ve složce {folder} teď nic nečeká.",
    will_move="Po připojení schránky se stáhnou a na serveru se přesunou do složky {target}.",
    source_missing="Složka {folder} ve schránce zatím není. Vytvořte ji ve svém poštovním programu; pošta se začne"
    " stahovat, jakmile tam bude.",
    target_missing="Ve schránce není složka {folder}, kam se má stažená pošta přesouvat. Dokud ji ve svém poštovním"
    " programu nevytvoříte, nic se nestáhne.",
    same_folder="Složka, která se čte, a složka, kam se pošta přesouvá, jsou jedna a táž. Dokud to správce AyMINE"
    " nezmění, nic se nestáhne.",
    sending_fails="Server pro odesílání přihlášení nepřijal nebo není dostupný: dokud se to nenapraví, nelze z AyMINE"
    " z této schránky posílat poštu. Stahování funguje.",
    choose="Co s poštou, která už ve složce je?",
    choose_none="Nechat ji být; stahovat jen to, co přijde od teď",
    choose_all="Stáhnout všechnu",
    choose_since="Stáhnout, co přišlo od",
    date_missing="Řekněte, prosím, co s poštou, která ve složce už je, a zvolíte-li den, tedy i který.",
    connect="Připojit schránku",
    done_title="Schránka je připojena",
    done="AyMINE teď stahuje poštu schránky {mailbox} ze složky {folder}. Stránku můžete zavřít; odkaz už posloužil.",
    gone_title="Odkaz neplatí",
    gone="Odkaz lze použít jednou a platí 24 hodin. O nový, prosím, požádejte správce AyMINE.",
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

TEXTS = {"en": ENGLISH, "cs": CZECH}
