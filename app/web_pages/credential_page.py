"""The page on which the owner of a mailbox enters its password. Its steps: ask, check, confirm, done."""

from dataclasses import dataclass

from markupsafe import Markup, escape

from app.web_pages.page import framed
from app.web_pages.texts import TEXTS, Texts

TRASH = "\\Trash"


@dataclass(frozen=True)
class Mailbox:
    """The mailbox that will be connected."""

    email_address: str
    server: str
    username: str
    sending_server: str | None
    """This server gets the same password."""
    sending_username: str | None
    is_plain: bool
    """The connection to one of the servers is not encrypted."""
    source_folder: str
    processed_folder: str
    """The name of a folder, or a special use."""
    owner: str | None
    """For a personal mailbox: the only user who will read it."""
    groups: tuple[str, ...]
    """For a shared mailbox: the groups whose members will read it."""
    seen: str
    """Identifies the settings that the page showed; the form returns it."""


@dataclass(frozen=True)
class Findings:
    """What the gateway found after the server accepted the password. None: it could not find this out."""

    encrypted: str
    """The password and the report, encrypted; the form returns them."""
    waiting: int | None
    target: str | None
    """The name of the processed folder on the server."""
    is_source_missing: bool = False
    is_target_missing: bool = False
    is_same_folder: bool = False
    is_sending_refused: bool = False
    must_choose: bool = False
    takes_all: bool = True
    """The mail that waits will be downloaded."""


def ask(language: str, mailbox: Mailbox, *, problem: str | None = None, tries_left: int | None = None) -> str:
    """The first page. `problem` is the name of the text that says what went wrong before."""
    texts = TEXTS[language]
    body = Markup("<p>{intro}</p>{facts}{assurances}{form}").format(
        intro=texts.intro,
        facts=_facts(texts, mailbox),
        assurances=_assurances(texts, mailbox),
        form=_password_form(texts, mailbox, _problem(texts, problem, tries_left)),
    )
    return framed(language, texts.title, body)


def confirm(language: str, mailbox: Mailbox, found: Findings, *, problem: str | None = None) -> str:
    """The second page: the server accepts the password, and the page says what will happen."""
    texts = TEXTS[language]
    body = Markup(
        '<p class="good">{accepted}</p>{facts}{findings}'
        '<form method="post"><input type="hidden" name="step" value="connect">'
        '<input type="hidden" name="seen" value="{seen}"><input type="hidden" name="sealed" value="{encrypted}">'
        '{alert}{choice}<button type="submit">{button}</button></form>'
    ).format(
        alert=_alert(_problem(texts, problem, None)),
        accepted=texts.accepted,
        facts=_facts(texts, mailbox, found.target),
        findings=_findings(texts, mailbox, found),
        seen=mailbox.seen,
        encrypted=found.encrypted,
        choice=_choice(texts) if found.must_choose else "",
        button=texts.connect,
    )
    return framed(language, texts.title, body)


def done(language: str, mailbox: Mailbox, *, is_paused: bool = False) -> str:
    """The last page."""
    texts = TEXTS[language]
    text = texts.done_paused if is_paused else texts.done
    sentence = _filled(text, mailbox=mailbox.email_address, folder=mailbox.source_folder)
    return framed(language, texts.done_title, Markup('<p class="good">{}</p>').format(sentence))


def gone(language: str, *, is_spent: bool = False) -> str:
    """The page of a link that is not valid, or not valid any more."""
    texts = TEXTS[language]
    return framed(
        language, texts.gone_title, Markup("<p>{}</p>").format(texts.spent if is_spent else texts.gone)
    )


def for_owner(language: str) -> str:
    """The page of a link for a mailbox whose servers somebody else changed."""
    texts = TEXTS[language]
    return framed(language, texts.title, Markup("<p>{}</p>").format(texts.for_owner))


def _problem(texts: Texts, problem: str | None, tries_left: int | None) -> Markup | None:
    if problem is None:
        return None
    sentence = _filled(getattr(texts, problem), tries=tries_left)
    return Markup("{} {}").format(sentence, texts.last_try) if tries_left == 1 else sentence


def _alert(sentence: Markup | None) -> Markup:
    return (
        Markup('<p class="alert" role="alert" id="problem">{}</p>').format(sentence) if sentence else Markup()
    )


def _facts(texts: Texts, mailbox: Mailbox, target: str | None = None) -> Markup:
    rows = [
        (texts.mailbox, mailbox.email_address),
        (texts.readers, _readers(texts, mailbox)),
        (texts.server, mailbox.server),
        (texts.username, mailbox.username),
        (texts.sending_server, mailbox.sending_server),
        (texts.sending_username, _if_another(mailbox.sending_username, mailbox.username)),
        (texts.folder, mailbox.source_folder),
        (texts.target, _target(texts, mailbox, target)),
    ]
    row = Markup("<div><dt>{}</dt><dd>{}</dd></div>")
    return Markup("<dl>{}</dl>").format(Markup("").join(row.format(*each) for each in rows if each[1]))


def _readers(texts: Texts, mailbox: Mailbox) -> Markup:
    if mailbox.owner is not None:
        return _filled(texts.only_owner, owner=mailbox.owner)
    if mailbox.groups:
        return _filled(texts.group_members, groups=", ".join(mailbox.groups))
    return Markup("{}").format(texts.chosen_groups)


def _assurances(texts: Texts, mailbox: Mailbox) -> Markup:
    only = texts.only_this_folder if mailbox.owner is not None else texts.shared_folder
    said = [_paragraph(_filled(only)), _paragraph(_filled(texts.encrypted))]
    if mailbox.processed_folder == TRASH:
        said.append(_paragraph(_filled(texts.trash_empties), "warning"))
    if mailbox.is_plain:
        said.append(_paragraph(_filled(texts.plain), "warning"))
    return Markup("").join(said)


def _password_form(texts: Texts, mailbox: Mailbox, problem: Markup | None) -> Markup:
    return Markup(
        '<form method="post"><input type="hidden" name="step" value="check">'
        '<input type="hidden" name="seen" value="{seen}">{alert}<label for="password">{label}</label>'
        '<input type="password" id="password" name="password" required maxlength="1024" autocomplete="off"'
        ' aria-describedby="problem hint"{focus}><p class="hint" id="hint">{hint}</p>'
        '<button type="submit">{button}</button></form>'
    ).format(
        seen=mailbox.seen,
        alert=_alert(problem),
        # Only when the password is needed again: on a phone, the focus scrolls the settings out of sight.
        focus=Markup(' aria-invalid="true" autofocus') if problem else "",
        label=texts.label,
        hint=texts.hint,
        button=texts.check,
    )


def _findings(texts: Texts, mailbox: Mailbox, found: Findings) -> Markup:
    target = found.target or _folder(texts, mailbox.processed_folder)
    said: list[Markup] = []
    if found.is_source_missing:
        said.append(_paragraph(_filled(texts.source_missing, folder=mailbox.source_folder), "warning"))
    elif found.waiting:
        waiting = _filled(texts.waiting, folder=mailbox.source_folder, count=found.waiting)
        said.append(_paragraph(waiting))
        if found.must_choose:
            said.append(_paragraph(_filled(texts.would_move, target=target), "warning"))
        elif found.takes_all:
            said.append(_paragraph(_filled(texts.will_move, target=target)))
    elif found.waiting == 0:
        said.append(_paragraph(_filled(texts.nothing_waits, folder=mailbox.source_folder)))
    if found.is_target_missing:
        said.append(_paragraph(_filled(texts.target_missing, folder=target), "warning"))
    if found.is_same_folder:
        said.append(_paragraph(_filled(texts.same_folder), "warning"))
    if found.is_sending_refused:
        said.append(_paragraph(_filled(texts.sending_fails), "warning"))
    return Markup("").join(said)


def _choice(texts: Texts) -> Markup:
    radio = Markup('<label><input type="radio" name="first_fetch" value="{}" required> {}</label>')
    since = Markup(
        '<label><input type="radio" name="first_fetch" value="since" required> {label}'
        ' <input type="date" name="since" aria-label="{label}"></label>'
    ).format(label=texts.choose_since)
    return Markup("<fieldset><legend>{legend}</legend>{none}{all}{since}</fieldset>").format(
        legend=texts.choose,
        none=radio.format("none", texts.choose_none),
        all=radio.format("all", texts.choose_all),
        since=since,
    )


def _folder(texts: Texts, name: str) -> str:
    return texts.special_uses.get(name, name)


def _target(texts: Texts, mailbox: Mailbox, found: str | None) -> str:
    """The folder by its meaning, and by its name on the server if that is known and different."""
    meant = _folder(texts, mailbox.processed_folder)
    return meant if found in {None, meant} else f"{meant} ({found})"


def _if_another(name: str | None, than: str) -> str | None:
    return name if name != than else None


def _paragraph(sentence: Markup, kind: str | None = None) -> Markup:
    start = Markup('<p class="{}">').format(kind) if kind else Markup("<p>")
    return start + sentence + Markup("</p>")


def _filled(text: str, **values: object) -> Markup:
    """A text with its values filled in; the values are bold."""
    bold = {name: Markup("<b>{}</b>").format(value) for name, value in values.items()}
    return escape(text).format(**bold)
