"""What we lean on in `imaplib` and IMAPClient that they do not promise. An upgrade that changes it turns these tests red
before a mail server shows it: see what the library does now, then app/adapters/imap/connection.py, client.py and session.py.
"""

import ast
import imaplib
import inspect
from collections.abc import Callable
from typing import Any

import imapclient
import pytest

from app.adapters.imap.connection import WiredIMAP4
from app.adapters.imap.session import ImapSession
from tests.support.settings import ROOT

LOOKED_UP: list[tuple[Callable[..., Any], set[str]]] = [
    (
        imaplib.IMAP4.__init__,
        {"open", "_connect", "shutdown", "state", "tagged_commands", "untagged_responses"},
    ),
    (imaplib.IMAP4.__init__, {"continuation_response", "literal", "debug"}),
    (imaplib.IMAP4._command, {"_new_tag", "_log", "_mesg", "send", "state"}),  # type: ignore[attr-defined]
    (imaplib.IMAP4._command, {"_get_response", "continuation_response", "tagged_commands"}),  # type: ignore[attr-defined]
    (imaplib.IMAP4._get_tagged_response, {"_get_response", "_check_bye", "untagged_responses"}),  # type: ignore[attr-defined]
    (imaplib.IMAP4._new_tag, {"tagpre", "tagged_commands"}),  # type: ignore[attr-defined]
    (imaplib.IMAP4._simple_command, {"_command", "_command_complete"}),  # type: ignore[attr-defined]
    (imaplib.IMAP4.append, {"literal", "_simple_command"}),
    (imapclient.IMAPClient.__init__, {"_create_IMAP4", "_set_read_timeout", "_imap", "debug", "_mesg"}),
    (imapclient.IMAPClient.append, {"_normalise_folder", "_command_and_check"}),
    (imapclient.IMAPClient._command_and_check, {"_imap"}),
]
"""Functions of the libraries, and names in them that we define, replace, set or read."""

SIGNATURES = {
    (imaplib.IMAP4, "_command"): "(self, name, *args)",
    (imaplib.IMAP4, "_command_complete"): "(self, name, tag)",
    (imaplib.IMAP4, "_get_tagged_response"): "(self, tag, expect_bye=False)",
    (imaplib.IMAP4, "_new_tag"): "(self)",
    (imaplib.IMAP4, "_check_bye"): "(self)",
    (imaplib.IMAP4, "_log"): "(self, line)",
    (imaplib.IMAP4, "_connect"): "(self)",
    (imaplib.IMAP4, "open"): "(self, host='', port=143, timeout=None)",
    (imapclient.IMAPClient, "_create_IMAP4"): "(self)",
    (imapclient.IMAPClient, "_set_read_timeout"): "(self)",
    (imapclient.IMAPClient, "_normalise_folder"): "(self, folder_name)",
}
SET_BY_INSTANCES = {"_imap", "_mesg"}
COMMANDS = (
    "CAPABILITY",
    "CREATE",
    "LIST",
    "LOGOUT",
    "NAMESPACE",
    "NOOP",
    "STARTTLS",
    "STATUS",
    "SUBSCRIBE",
    "UID",
)


@pytest.mark.parametrize(("function", "names"), LOOKED_UP)
def test_the_library_still_goes_through_what_we_replace(
    function: Callable[..., Any], names: set[str]
) -> None:
    assert names <= set(inspect.unwrap(function).__code__.co_names)


@pytest.mark.parametrize(("owner", "name"), SIGNATURES)
def test_the_private_methods_take_what_we_give_them(owner: type, name: str) -> None:
    assert str(inspect.signature(getattr(owner, name))) == SIGNATURES[owner, name]


def test_the_library_sends_the_commands_that_we_send() -> None:
    commands: dict[str, tuple[str, ...]] = vars(imaplib)["Commands"]
    assert set(COMMANDS) <= commands.keys()


def test_these_private_names_of_the_libraries_are_used_and_no_other() -> None:
    of_libraries = {*dir(imaplib.IMAP4), *dir(imapclient.IMAPClient), *SET_BY_INSTANCES}
    private = {name for name in of_libraries if name.startswith("_") and not name.startswith("__")}
    used: set[str] = set()
    for path in (ROOT / "app/adapters/imap").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                used.add(node.name)
    ours = {name for name in vars(ImapSession) if name not in vars(WiredIMAP4)}
    checked = {name for _, name in SIGNATURES if name != "open"} | SET_BY_INSTANCES | {"_get_response"}
    assert (used & private) - ours == checked
