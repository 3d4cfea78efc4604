"""All disagreements in a folder of mails, each with its verdict."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.adapters.parser import ParserProcess
from tools.agreement.compare import Disagreement, disagreements, read_ours
from tools.agreement.standard_library import CPU_S, StandardLibrary
from tools.agreement.verdicts import Verdict, known_verdicts, verdict
from tools.corpus import mail_files


@dataclass(frozen=True)
class Found:
    """A disagreement about a mail. The verdict is None if nobody has given one."""

    path: Path
    sha256: str
    disagreement: Disagreement
    verdict: Verdict | None


def survey(
    folder: Path, *, library_cpu_s: int = CPU_S, attachments_max: int | None = None
) -> Iterator[Found]:
    """Read every mail twice: by the parser process, and by the standard library.

    To be quicker, leave out the mails for which the library needs longer, or that have more attachments.
    """
    known = known_verdicts()
    with StandardLibrary(library_cpu_s) as library, ParserProcess() as process:
        for path in mail_files(folder):
            raw = path.read_bytes()
            if attachments_max is not None and len(process.parse(raw).attachments) > attachments_max:
                continue
            sha256 = hashlib.sha256(raw).hexdigest()
            ours = read_ours(process, raw)
            for each in disagreements(ours, library.read(raw)):
                yield Found(path, sha256, each, verdict(known, sha256, ours, each))
