"""The parser process: what happens to the gateway when a mail stops or kills its parser. Nothing."""

import base64
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.parser import (
    AttachmentUnreadable,
    ParserLimits,
    ParserPool,
    ParserProcess,
    ParserUnavailable,
)
from app.mime.model import DefectCode, ParsedMail
from app.mime.parse import parse_mail

from .mails import base64_part, mail, multipart, part

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux"),
]

ROOT = Path(__file__).resolve().parents[3]
ORDINARY = mail("Subject: kůň", "Message-ID: <a@b>")
# html5ever compares every attribute of a tag with all others: 250,000 take it half a minute.
SLOW_HTML = "<a " + " ".join(f"x{n}=1" for n in range(250_000)) + ">Faktura</a>"
SLOW = multipart(
    "mixed",
    part("Content-Type: text/html", body=SLOW_HTML),
    base64_part("image/png; name=a.png", b"png"),
    headers=["Subject: kůň"],
)


@pytest.fixture
def process() -> Iterator[ParserProcess]:
    with ParserProcess() as started:
        yield started


def limited(**limits: float) -> ParserProcess:
    return ParserProcess(ParserLimits(**limits))  # type: ignore[arg-type]


def defects(parsed: ParsedMail) -> list[tuple[str, str]]:
    return [(defect.code.value, defect.detail) for defect in parsed.defects]


def test_the_process_reads_what_the_function_reads(process: ParserProcess) -> None:
    raw = multipart(
        "mixed",
        part("Content-Type: text/html; charset=iso-8859-2", body="<p>kůň".encode("iso8859-2")),
        base64_part("image/png; name=a.png", bytes(range(256))),
    )
    for each in (raw, ORDINARY, b"", b"\x00\xff"):
        assert process.parse(each) == parse_mail(each)


def test_one_child_serves_many_mails(process: ParserProcess) -> None:
    assert process.pid is None
    process.parse(ORDINARY)
    pid = process.pid
    for n in range(50):
        assert process.parse(mail(f"Subject: {n}")).subject == str(n)
    assert process.pid == pid


def test_attachments_come_out_exact(process: ParserProcess) -> None:
    contents = [random.Random(n).randbytes(size) for n, size in enumerate((0, 1, 100, 70_000, 3_000_000))]
    raw = multipart("mixed", *(base64_part("application/pdf", content) for content in contents))
    for n, content in enumerate(contents, start=1):
        found = process.attachment(raw, n)
        assert found is not None
        assert (found.info.n, found.info.size_octets, found.content == content) == (n, len(content), True)
    assert process.attachment(raw, 6) is None
    assert process.attachment(raw, 0) is None
    assert process.attachment(raw, -1) is None
    assert process.attachment(raw, 2**40) is None


def test_a_mail_of_50_mb_is_read_and_the_child_is_replaced_afterwards(process: ParserProcess) -> None:
    content = random.Random(1).randbytes(37_000_000)
    raw = multipart("mixed", part(body="viz příloha"), base64_part("application/pdf; name=a.pdf", content))
    parsed = process.parse(raw)
    assert ([each.size_octets for each in parsed.attachments], parsed.defects) == ([37_000_000], ())
    found = process.attachment(raw, 1)
    assert found is not None
    assert found.content == content


def test_a_mail_over_its_cpu_time_is_read_without_html(process: ParserProcess) -> None:
    parsed = process.parse(SLOW)
    assert defects(parsed)[:1] == [("parser_timeout", "CPU time")]
    assert DefectCode.HTML_WITHHELD in [defect.code for defect in parsed.defects]
    assert (parsed.subject, parsed.html, [each.name for each in parsed.attachments]) == (
        "kůň",
        None,
        ["a.png"],
    )
    assert process.parse(ORDINARY).defects == ()


def test_a_mail_over_its_wall_time_is_read_without_html() -> None:
    with limited(cpu_s=60.0, wall_s=3.0, wall_s_per_megabyte=0.0) as process:
        process.parse(ORDINARY)
        parsed = process.parse(SLOW)
        assert defects(parsed)[0] == ("parser_timeout", "wall clock")
        assert (parsed.subject, [each.name for each in parsed.attachments]) == ("kůň", ["a.png"])


def test_a_mail_that_cannot_be_read_at_all_still_has_its_header() -> None:
    # More than the pipe holds, so that even handing it over takes longer than no time.
    raw = mail("Subject: kůň", "Message-ID: <a@b>", body="x" * 5_000_000)
    with limited(wall_s=0.0, wall_s_per_megabyte=0.0) as process:
        parsed = process.parse(raw)
        assert (parsed.subject, parsed.message_id_header, parsed.text) == ("kůň", "<a@b>", None)
        assert defects(parsed) == [("parser_timeout", "wall clock")]
        with pytest.raises(AttachmentUnreadable) as caught:
            process.attachment(raw, 1)
        assert caught.value.defect.code == DefectCode.PARSER_TIMEOUT


def test_a_mail_over_its_memory_is_read_without_html_and_the_next_as_ever() -> None:
    with limited(memory_octets=64 * 1024 * 1024) as process:
        assert process.parse(ORDINARY) == parse_mail(ORDINARY)
        # Without the limit this takes 170 MB.
        parsed = process.parse(mail("Subject: kůň", "Content-Type: text/html", body="<p>" * 690_000))
        assert parsed.subject == "kůň"
        assert defects(parsed)[0] == ("parser_memory", "SIGABRT")
        assert process.parse(ORDINARY) == parse_mail(ORDINARY)


def test_a_child_that_is_killed_over_a_mail_is_replaced() -> None:
    killed: list[int] = []
    with limited(cpu_s=60.0) as process:

        def kill_the_first_child_over_its_mail() -> None:
            while process.pid is None or not _has_a_mail_in_hand(process.pid):
                assert time.monotonic() < deadline
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

        deadline = time.monotonic() + 60
        killer = threading.Thread(target=kill_the_first_child_over_its_mail)
        killer.start()
        parsed = process.parse(SLOW)
        killer.join()
        assert defects(parsed)[0] == ("parser_died", "SIGKILL")
        assert (parsed.subject, [each.name for each in parsed.attachments]) == ("kůň", ["a.png"])
        assert process.pid not in [None, *killed]
        assert process.parse(ORDINARY) == parse_mail(ORDINARY)


def _has_a_mail_in_hand(pid: int) -> bool:
    """Each mail gets its CPU time, which a child that is only starting has no limit of."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("Max cpu time") and line.split()[3] != "unlimited" for line in limits)


class DiesAtItsStart(ParserProcess):
    """Its first children are killed before they say that they are ready."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def _start(self) -> subprocess.Popen[bytes]:
        child = super()._start()
        if self.times > 0:
            self.times -= 1
            child.kill()
        return child


def test_a_child_that_dies_at_its_start_is_started_once_more() -> None:
    with DiesAtItsStart(times=1) as process:
        assert process.parse(ORDINARY) == parse_mail(ORDINARY)


def test_children_that_die_at_their_start_say_nothing_about_the_mail() -> None:
    with DiesAtItsStart(times=2) as process:
        with pytest.raises(ParserUnavailable):
            process.parse(ORDINARY)
        assert process.pid is None
        assert process.parse(ORDINARY) == parse_mail(ORDINARY)


def test_a_child_that_died_between_two_mails_is_not_noticed(process: ParserProcess) -> None:
    process.parse(ORDINARY)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while process.pid is not None:
        assert time.monotonic() < deadline
    assert process.parse(ORDINARY) == parse_mail(ORDINARY)


def test_the_child_is_sandboxed_and_knows_no_secrets(
    process: ParserProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", "canary")
    process.parse(ORDINARY)
    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    table = {line[:26].strip(): line[26:].split()[:2] for line in limits}
    assert table["Max open files"] == ["3", "3"]
    assert table["Max processes"] == ["0", "0"]
    assert table["Max file size"] == ["0", "0"]
    assert table["Max core file size"] == ["0", "0"]
    assert table["Max cpu time"][0] != "unlimited"
    assert table["Max address space"][0] != "unlimited"
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"canary" not in environment
    assert {item.partition(b"=")[0] for item in environment.split(b"\0") if item} == {
        b"PYTHONPATH",
        b"LC_ALL",
    }


def test_a_closed_process_leaves_no_child_and_reads_nothing_more() -> None:
    process = ParserProcess()
    process.parse(ORDINARY)
    pid = process.pid
    process.close()
    process.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ParserUnavailable):
        process.parse(ORDINARY)


def test_a_gateway_that_is_killed_leaves_no_child() -> None:
    code = (
        "from app.adapters.parser import ParserProcess\n"
        "process = ParserProcess(); process.parse(b''); print(process.pid, flush=True); input()"
    )
    gateway = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with gateway:
        assert gateway.stdout is not None
        child = int(gateway.stdout.readline())
        gateway.kill()
    deadline = time.monotonic() + 60
    while _is_running(child):
        assert time.monotonic() < deadline


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_pool_serves_more_threads_than_it_has_children() -> None:
    found: dict[int, str | None] = {}
    with ParserPool(2) as pool:

        def work(n: int) -> None:
            for k in range(20):
                body = "x" * (n * 20_000)
                found[n * 100 + k] = pool.parse(mail(f"Subject: {n * 100 + k}", body=body)).subject

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        raw = multipart("mixed", base64_part("image/png", b"png"))
        attachment = pool.attachment(raw, 1)
        assert attachment is not None
        assert attachment.content == b"png"
    assert found == {n * 100 + k: str(n * 100 + k) for n in range(8) for k in range(20)}
    with pytest.raises(ParserUnavailable):
        pool.parse(ORDINARY)


def test_no_descriptor_is_left_behind() -> None:
    def open_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = open_descriptors()
    for _ in range(3):
        with ParserProcess() as process:
            process.parse(ORDINARY)
    with limited(wall_s=0.0) as process:
        process.parse(base64.b64encode(bytes(3_000_000)))
    assert open_descriptors() == before
