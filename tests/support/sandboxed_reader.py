"""The reader as the gateway has it, in its parser process, under the names of `app.mime.parse`: for tests of what a mail
says. One process for all tests of a worker.

The process stops each mail that takes more than the time or memory of the gateway's limits: this is a fault, and no test may
cause one. Each mail is read in the test's own process as well: both say the same.
"""

import atexit
from collections.abc import Sequence

from app.adapters.parser import ParserProcess
from app.mime import parse
from app.mime.model import PARSER_FAULTS, AttachmentContent, Listed, ParsedMail

_process = ParserProcess()
atexit.register(_process.close)


def parse_mail(raw: bytes, listed: Sequence[Listed] = ()) -> ParsedMail:
    """What the mail says."""
    parsed = _process.parse(raw, listed)
    assert not [each for each in parsed.defects if each.code in PARSER_FAULTS]
    assert parsed == parse.parse_mail(raw, listed=listed)
    return parsed


def extract_attachment(raw: bytes, n: int, listed: Sequence[Listed] = ()) -> AttachmentContent | None:
    """The attachment of that number."""
    found = _process.attachment(raw, n, listed)
    assert found == parse.extract_attachment(raw, n, listed)
    return found
