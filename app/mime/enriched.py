"""Turns text/enriched (RFC 1896) and its predecessor text/richtext (RFC 1341 §7.1.3) into plain text."""

import re

_TOKEN = re.compile(r"<<|<(/?)([A-Za-z0-9-]{1,60})>|\n+")
# The text between these commands is for programs.
_UNSEEN = frozenset({"param", "comment"})


def enriched_text(source: str, *, richtext: bool = False) -> str:
    """The text without its commands. A single line end is a space. Of several in a row, one is dropped."""
    out: list[str] = []
    at = unseen = nofill = 0
    for token in _TOKEN.finditer(source):
        if not unseen:
            out.append(source[at : token.start()])
        at = token.end()
        name = (token[2] or "").lower()
        step = -1 if token[1] else 1
        if name in _UNSEEN:
            unseen = max(unseen + step, 0)
        elif name == "nofill":
            nofill = max(nofill + step, 0)
        elif not unseen:
            out.append(_plain(token.group(), name, richtext=richtext, nofill=nofill > 0))
    out.append("" if unseen else source[at:])
    return "".join(out)


def _plain(mark: str, name: str, *, richtext: bool, nofill: bool) -> str:
    if mark == "<<":
        return "<<" if richtext else "<"
    if mark[0] == "\n":
        if nofill:
            return mark
        return " " if richtext or len(mark) == 1 else mark[1:]
    if richtext:
        return {"nl": "\n", "lt": "<", "np": "\n"}.get(name, "\n" if mark == "</paragraph>" else "")
    return ""
