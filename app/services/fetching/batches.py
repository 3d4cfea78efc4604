"""Mails in batches, by what the server says of their sizes."""

from collections.abc import Iterator, Sequence

from app.adapters.imap import MailInfo

BATCH_MAILS = 50
BATCH_OCTETS = 8 * 1024 * 1024
ASSUMED_OCTETS = 1024 * 1024
"""Of a mail whose size the server does not tell."""


def batches_of(infos: Sequence[MailInfo]) -> Iterator[list[MailInfo]]:
    """Batches of up to 50 mails or 8 MB; a larger mail alone."""
    batch: list[MailInfo] = []
    octets = 0
    for info in infos:
        size = info.size_octets if info.size_octets is not None else ASSUMED_OCTETS
        if batch and (len(batch) == BATCH_MAILS or octets + size > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(info)
        octets += size
    if batch:
        yield batch
