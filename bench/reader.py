"""`make bench ARGS=reader`: compares our reader with the standard library's `email` with `policy.default`, mail by mail.

Both produce everything that the API shows: the header fields, text, HTML, the name and octets of each attachment. Our reader
also makes the HTML safe, and makes text and a snippet from it. CPU time is measured in this process, for the two in turn. If
the library raises, the time until then counts. A few mails stop the library for seconds and would decide the ratio alone, so
there is a second ratio without them.
"""

import argparse
import contextlib
import email
import email.policy
import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.mime.charset import load_codecs
from app.mime.parse import parse_mail
from bench.mails import mails
from tools.corpus import mail_files

LIMIT = 0.25
"""The largest allowed time of the reader, in multiples of the library's time."""
SLOW_S = 0.5
HEADERS = ("subject", "from", "to", "cc", "reply-to", "date", "message-id", "in-reply-to", "references")
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench reader", description=__doc__)
    parser.add_argument("--mails", type=int, default=400, help="how many of the benchmark's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--corpus", type=Path, default=Path(os.environ.get("MAIL_CORPUS", CORPUS)), help="a folder of mails"
    )
    arguments = parser.parse_args(argv)
    load_codecs()
    gc.freeze()  # as the parser process does: what is loaded is not looked at for each mail
    sets = {"the benchmark's mails": list(mails(arguments.mails))}
    if arguments.corpus.is_dir():
        sets["the collected mails"] = [path.read_bytes() for path in mail_files(arguments.corpus)]
    table = Table(title=f"Reading mail, CPU time, medians of {arguments.rounds} rounds", title_justify="left")
    for name in ("", "mails", "ours s", "email s", "ratio", "median mail", "slow apart"):
        table.add_column(name, justify="right")
    measured: list[tuple[float, float]] = []
    for name, raws in sets.items():
        pairs = [_pair(raw, arguments.rounds) for raw in raws]
        measured += pairs
        table.add_row(name, *_figures(pairs))
    table.add_row("together", *_figures(measured))
    console = Console()
    console.print(table)
    console.print(f"slow apart: without the mails that stop the library for more than {SLOW_S} s")
    console.print(f"The reader is to take no more than {LIMIT} times what the library takes, together.")


def _figures(pairs: Sequence[tuple[float, float]]) -> list[str]:
    ours, theirs = _sums(pairs)
    quick_ours, quick_theirs = _sums([pair for pair in pairs if pair[1] <= SLOW_S])
    median = statistics.median(mine / other for mine, other in pairs)
    ratios = [ours / theirs, median, quick_ours / quick_theirs]
    return [str(len(pairs)), f"{ours:.2f}", f"{theirs:.2f}", *(f"{each:.2f}" for each in ratios)]


def _sums(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def _pair(raw: bytes, rounds: int) -> tuple[float, float]:
    """Seconds of our reader and of the library, each the median. A slow mail is read only once."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_seconds(_read_ours, raw))
        theirs.append(_seconds(_read_theirs, raw))
        if theirs[-1] > SLOW_S:
            break
    return statistics.median(ours), statistics.median(theirs)


def _seconds(read: Callable[[bytes], object], raw: bytes) -> float:
    started = time.process_time()
    read(raw)
    return time.process_time() - started


def _read_ours(raw: bytes) -> None:
    parse_mail(raw).to_json()


def _read_theirs(raw: bytes) -> None:
    with contextlib.suppress(Exception):  # it raises on some mails
        message = email.message_from_bytes(raw, policy=email.policy.default)
        for name in HEADERS:
            with contextlib.suppress(Exception):
                str(message[name])
        for kind in ("plain", "html"):
            with contextlib.suppress(Exception):
                body = message.get_body((kind,))
                assert body is not None
                body.get_content()
        for part in message.iter_attachments():
            with contextlib.suppress(Exception):
                _take(part)


def _take(part: EmailMessage) -> None:
    part.get_filename()
    part.get_payload(decode=True)
