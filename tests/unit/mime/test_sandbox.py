"""Nothing is imported or opened once the parser process is in its sandbox: it could not be."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.mime.charset_labels import CODECS
from app.mime.frames import READY, REPLY, REQUEST, Asked, Op, Status
from tools.corpus import mail_files

from .mails import mail
from .test_charset_labels import labelled, letters_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def request(op: Op, raw: bytes) -> bytes:
    asked = Asked(n=1).to_json()
    return REQUEST.pack(op, len(asked), len(raw)) + asked + raw


def heard_while_reading(mails: Iterable[bytes]) -> list[str]:
    """Let a watched parser process read the mails and their first attachments. Returns everything else that it tried."""
    command = [sys.executable, "-P", "-s", "-m", "tests.support.watched_parser", "60", "1", str(2**30)]
    with subprocess.Popen(
        command,
        cwd="/",
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.read(len(READY)) == READY
        for raw in mails:
            for op in (Op.PARSE, Op.PARSE_WITHOUT_HTML, Op.ATTACHMENT):
                child.stdin.write(request(op, raw))
                child.stdin.flush()
                status, _, json_octets, octets = REPLY.unpack(child.stdout.read(REPLY.size))
                answer = child.stdout.read(json_octets)
                child.stdout.read(octets)
                assert status in (Status.DONE, Status.NOTHING), answer
        child.stdin.close()
        heard: list[str] = json.loads(child.stderr.read())
    return heard


def test_nothing_is_imported_for_any_charset() -> None:
    damaged = b"\x80\xff\x1b$B-!\x1b(I1\x1b(B"
    mails = [
        labelled(codec, octets) for codec in CODECS for octets in (letters_of(codec).encode(codec), damaged)
    ]
    assert heard_while_reading(mails) == []


def test_nothing_is_imported_or_opened_for_the_collected_mails(corpus: Path) -> None:
    assert heard_while_reading(path.read_bytes() for path in mail_files(corpus)) == []


def test_an_import_would_have_been_heard() -> None:
    code = (
        "import tests.support.watched_parser as watched, app.mime.worker as worker\n"
        "read = worker.parse_mail\n"
        "def parse_mail(*a, **k):\n"
        "    import this\n"
        "worker.parse_mail = parse_mail\n"
        "watched.main()"
    )
    raw = mail()
    command = [sys.executable, "-c", code, "60", "1", str(2**30)]
    done = subprocess.run(command, input=request(Op.PARSE, raw), cwd=ROOT, capture_output=True, check=True)
    assert "import this" in json.loads(done.stderr)
    assert done.stdout[1] == Status.FAILED
