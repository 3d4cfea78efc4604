"""The demo, as a newcomer starts it. One round of it runs from the wheel in each run: tests/deploy/test_wheel.py."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

TIMEOUT_S = 400


def command() -> list[str]:
    return [str(Path(sys.executable).with_name("imap-gateway")), "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files in a folder that the test can check."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return {**kept, "TMPDIR": str(tmp_path)}


@pytest.mark.soak
def test_one_round_checks_itself_and_leaves_nothing_behind(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*command(), "--once"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything happened as it should." in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_it_ends_on_a_signal_and_leaves_nothing_behind(
    tmp_path: Path, environment: dict[str, str], how: signal.Signals
) -> None:
    with subprocess.Popen(
        command(), env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        seen = ""
        while "Ctrl-C ends the demo" not in seen:
            line = demo.stdout.readline()
            assert line, seen
            seen += line
        link = re.search(r"http://127\.0\.0\.1:\d+/credential-links/\S+", seen)
        assert link is not None, seen
        assert "marek.dvorak@firma.cz" in httpx.get(link[0], trust_env=False).text
        demo.send_signal(how)
        rest = demo.stdout.read()
        assert demo.wait(TIMEOUT_S) == 0
    assert "left nothing behind" in rest
    assert list(tmp_path.iterdir()) == []
