"""The page on which the owner of a mailbox enters its password: asked for, checked, confirmed, done."""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from app.web_pages.page import framed
from app.web_pages.texts import TEXTS, Texts


@dataclass(frozen=True)
class Mailbox:
    """What is going to be connected."""

    email_address: str
    server: str
    username: str
    sending_server: str | None
    """Gets the same password."""
    is_plain: bool
    """A server is spoken to without encryption."""
    source_folder: str
    processed_folder: str
    """A folder's name, or a special use."""
    owner: str | None
    """Of a personal mailbox: the one user who will read it."""
    groups: tuple[str, ...]
    """Of a shared one: whose members will."""
    seen: str
    """Comes back with the form: which settings were shown."""


@dataclass(frozen=True)
class Findings:
    """What was found with a password that the server has accepted. None: could not be looked for."""

    sealed: str
    """Comes back with the form."""
    waiting: int | None
    target: str | None
    """The processed folder's name on the server."""
    is_source_missing: bool = False
    is_target_missing: bool = False
    is_same_folder: bool = False
    is_sending_refused: bool = False
    must_choose: bool = False
    takes_all: bool = True
    """What waits is going to be downloaded."""


def ask(language: str, mailbox: Mailbox, *, problem: str | None = None, tries_left: int | None = None) -> str:
    """The first page, with what went wrong before: the name of one of the texts."""
    texts = TEXTS[language]
    body = Markup("{alert}<p>{intro}</p>{facts}{only}{form}").format(
        alert=_alert(_problem(texts, problem, tries_left)),
        intro=texts.intro,
        facts=_facts(texts, mailbox),
        only=_paragraphs(_assurances(texts, mailbox)),
        form=_password_form(texts, mailbox),
    )
    return framed(language, texts.title, body)


def confirm(language: str, mailbox: Mailbox, found: Findings, *, problem: str | None = None) -> str:
    """The second page: the password is good, this is what is going to happen."""
    texts = TEXTS[language]
    body = Markup(
        '{alert}<p class="good">{accepted}</p>{facts}{findings}'
        '<form method="post"><input type="hidden" name="step" value="connect">'
        '<input type="hidden" name="seen" value="{seen}"><input type="hidden" name="sealed" value="{sealed}">'
        '{choice}<button type="submit">{button}</button></form>'
    ).format(
        alert=_alert(_problem(texts, problem, None)),
        accepted=texts.accepted,
        facts=_facts(texts, mailbox, found.target),
        findings=_paragraphs(_findings(texts, mailbox, found)),
        seen=mailbox.seen,
        sealed=found.sealed,
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
    """The page of a link that is good for nothing, or not any more."""
    texts = TEXTS[language]
    return framed(
        language, texts.gone_title, Markup("<p>{}</p>").format(texts.spent if is_spent else texts.gone)
    )


def _problem(texts: Texts, problem: str | None, tries_left: int | None) -> Markup | None:
    if problem is None:
        return None
    sentence = _filled(getattr(texts, problem), tries=tries_left)
    return Markup("{} {}").format(sentence, texts.last_try) if tries_left == 1 else sentence


def _alert(sentence: Markup | None) -> Markup:
    return Markup('<p class="alert" role="alert">{}</p>').format(sentence) if sentence else Markup()


def _facts(texts: Texts, mailbox: Mailbox, target: str | None = None) -> Markup:
    rows = [
        (texts.mailbox, mailbox.email_address),
        (texts.readers, _readers(texts, mailbox)),
        (texts.server, mailbox.server),
        (texts.sending_server, mailbox.sending_server),
        (texts.username, mailbox.username),
        (texts.folder, mailbox.source_folder),
        (texts.target, target or _folder(texts, mailbox.processed_folder)),
    ]
    row = Markup("<div><dt>{}</dt><dd>{}</dd></div>")
    return Markup("<dl>{}</dl>").format(Markup("").join(row.format(*each) for each in rows if each[1]))


def _readers(texts: Texts, mailbox: Mailbox) -> Markup:
    if mailbox.owner is not None:
        return _filled(texts.only_owner, owner=mailbox.owner)
    if mailbox.groups:
        return _filled(texts.group_members, groups=", ".join(mailbox.groups))
    return Markup("{}").format(texts.chosen_groups)


def _assurances(texts: Texts, mailbox: Mailbox) -> Iterable[Markup]:
    yield _filled(texts.only_this_folder if mailbox.owner is not None else texts.shared_folder)
    yield _filled(texts.encrypted)
    if mailbox.is_plain:
        yield _filled(texts.plain)


def _password_form(texts: Texts, mailbox: Mailbox) -> Markup:
    return Markup(
        '<form method="post"><input type="hidden" name="step" value="check">'
        '<input type="hidden" name="seen" value="{seen}"><label for="password">{label}</label>'
        '<input type="password" id="password" name="password" required maxlength="1024" autocomplete="off"'
        ' aria-describedby="hint" autofocus><p class="hint" id="hint">{hint}</p>'
        '<button type="submit">{button}</button></form>'
    ).format(seen=mailbox.seen, label=texts.label, hint=texts.hint, button=texts.check)


def _findings(texts: Texts, mailbox: Mailbox, found: Findings) -> Iterable[Markup]:
    target = found.target or _folder(texts, mailbox.processed_folder)
    if found.is_source_missing:
        yield _filled(texts.source_missing, folder=mailbox.source_folder)
    elif found.waiting:
        yield _filled(texts.waiting, folder=mailbox.source_folder, count=found.waiting)
        if found.takes_all:
            yield _filled(texts.will_move, target=target)
    elif found.waiting == 0:
        yield _filled(texts.nothing_waits, folder=mailbox.source_folder)
    if found.is_target_missing:
        yield _filled(texts.target_missing, folder=target)
    if found.is_same_folder:
        yield _filled(texts.same_folder)
    if found.is_sending_refused:
        yield _filled(texts.sending_fails)


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


def _paragraphs(sentences: Iterable[Markup]) -> Markup:
    return Markup("").join(Markup("<p>{}</p>").format(sentence) for sentence in sentences)


def _filled(text: str, **values: object) -> Markup:
    """A text with its places filled in, these in bold."""
    bold = {name: Markup("<b>{}</b>").format(value) for name, value in values.items()}
    return escape(text).format(**bold)
