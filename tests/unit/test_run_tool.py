"""`make run`: the keys in its file of settings are for its user alone."""

import os
import stat
import sys
from pathlib import Path

import pytest

from tools import run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """In an empty folder; the service that it would become is only noted."""
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(os, "execv", lambda _, arguments: commands.append(arguments))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return commands


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_the_keys_of_a_development_service_are_for_its_user_alone(
    started: list[list[str]], tmp_path: Path, before: int | None
) -> None:
    settings = tmp_path / ".dev.env"
    if before is not None:
        settings.write_text("export GATEWAY_JWT_SECRET=of-last-time\n")
        settings.chmod(before)
    mask = os.umask(0)
    try:
        run.main()
    finally:
        os.umask(mask)
    assert mode(settings) == 0o600
    assert "GATEWAY_JWT_SECRET" in settings.read_text()
    assert [arguments[1] for arguments in started] == ["serve"]
