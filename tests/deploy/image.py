"""The steps of deploy/Dockerfile, run one by one with the image's folders below a temporary one.

pip takes a minute to fetch and compile what production needs. `make setup` has had it do so already, with the same hashes; so
a quick build copies these distributions, in these versions, into the image's environments. `make soak` has pip do it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.distributions import copied_to, pins
from tests.deploy.interpreter import interpreter_for
from tests.support.settings import ROOT
from tools.servers.process import Account, server_account, work_folder

FOLDERS = ("build", "opt", "data")
STEP = re.compile(r"^(FROM|COPY|RUN|ENV|USER|WORKDIR|VOLUME|EXPOSE|HEALTHCHECK|CMD)\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Image:
    """A built image: where it lies, and what its last steps say."""

    folder: Path
    is_quick: bool
    account: Account
    steps: list[tuple[str, str]]
    values: dict[str, str]
    """What ENV sets."""
    command: list[str]
    """CMD, as it stands in the file."""


def built_image(*, is_quick: bool) -> Image:
    """Run all steps in an empty folder, which stays; the caller removes it."""
    account = server_account()
    folder = work_folder("gateway-image-", account)
    folder.chmod(0o755)
    values: dict[str, str] = {}
    steps = STEP.findall((ROOT / "deploy" / "Dockerfile").read_text())
    assert [word for word, _ in steps].count("FROM") == 2
    command: list[str] = []
    stage = 0
    for word, rest in steps:
        stage += word == "FROM"
        if word == "FROM":
            wanted = re.match(r"python:(\d+)\.(\d+)-slim", rest)
            assert wanted is not None
            assert (int(wanted[1]), int(wanted[2])) >= (3, 11)
        elif word == "COPY" and stage == 1:
            copy(rest, folder / "build")
        elif word == "RUN":
            (execute_quickly if is_quick else execute)(moved(rest, folder), folder / "build")
        elif word == "ENV":
            values |= dict(each.split("=", 1) for each in shlex.split(moved(rest, folder)))
        elif word == "CMD":
            command = json.loads(rest)
        elif word == "USER":
            assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", rest)
    return Image(folder, is_quick, account, steps, values, command)


def health_check(steps: list[tuple[str, str]], port: int) -> Callable[[], bool]:
    """Run the image's health check against the port. Returns whether it passes."""
    (text,) = [rest for word, rest in steps if word == "HEALTHCHECK"]
    words = json.loads(text[text.index("CMD ") + 4 :])
    words = [sys.executable, *(each.replace(":8000/", f":{port}/") for each in words[1:])]
    return lambda: subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0


def moved(text: str, image: Path) -> str:
    """A step with the image's folders below the temporary one."""
    text = re.sub(rf"(?<![\w.]){re.escape('/')}({'|'.join(FOLDERS)})(?=[/\s]|$)", rf"{image}/\1", text)
    text = re.sub(r"(sqlite:////)data/", rf"sqlite:///{image}/data/", text)
    return re.sub(r"\bpython -m venv", f"{interpreter_for(server_account(), image)} -m venv", text)


def copy(rest: str, target: Path) -> None:
    """Copy files of the checkout that git knows, as a clean checkout would have them."""
    *sources, _ = rest.split()
    target.mkdir(exist_ok=True)
    for source in sources:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", source],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def execute_quickly(step: str, folder: Path) -> None:
    """Run one step, but copy what pip would fetch."""
    for command in step.split(" && "):
        words = shlex.split(command)
        if words[1:3] == ["-m", "venv"]:
            execute(f"{command} --without-pip", folder)
            copied_to(Path(words[3]), ["pip"])
            pip = Path(words[3], "bin", "pip")
            pip.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n')
            pip.chmod(0o755)
        elif "--require-hashes" in words:
            copied_to(Path(words[0]).parents[1], pins(folder / words[-1]))
        else:
            execute(command, folder)


def execute(step: str, folder: Path) -> None:
    """Run one step in the shell; giving files to the image's user is left to who is root."""
    step = re.sub(r"( && |^)chown \S+ \S+$", "", step)
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        ["sh", "-ec", step], cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
