"""Groups mails into batches, by the sizes that the server announces."""

from collections.abc import Iterator, Sequence

from app.adapters.imap import MailInfo

BATCH_MAILS = 50
BATCH_OCTETS = 8 * 1024 * 1024
ASSUMED_OCTETS = 1024 * 1024
"""The assumed size of a mail whose size the server does not announce."""


def batches_of(infos: Sequence[MailInfo]) -> Iterator[list[MailInfo]]:
    """Batches of up to 50 mails or 8 MB. A larger mail is a batch of its own."""
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
