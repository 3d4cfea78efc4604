"""A mailbox whose sending process crashes, and what must be true of it when it has come to rest."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select
from sqlmodel import col

from app.gateway import Gateway
from app.models import Event, Submission, SubmissionRecipient
from app.services.sending import ending
from tests.crash import work
from tests.support.sending_mailbox import OWNER, sending_connector
from tools.servers.dovecot import Dovecot
from tools.servers.process import wait_until
from tools.servers.smtp import SmtpServer

WELL = ("sent", "failed", "sent", "sent")
"""What becomes of the mails of `work.ORDERS` if nothing happens."""
IDLE_S = 60.0
_MESSAGE_ID = re.compile(rb"(?im)^message-id: *(<[^>]*>)")


class MailServer(SmtpServer):
    """A server that refuses `work.REFUSED`, and `work.BUSY` the first time. With a folder to file in, it puts a copy of each
    mail there before it answers, as some providers do."""

    def __init__(self, dovecot: Dovecot) -> None:
        super().__init__(user="info@firma.cz", password=dovecot.password, auth_required=True)
        self._dovecot = dovecot
        self.files_for: str | None = None
        self._has_seen_busy = False

    def reset(self) -> None:
        super().reset()
        self._has_seen_busy, self.files_for = False, None
        self.behaviour.recipient_replies = {work.REFUSED: "550 5.1.1 No such user"}

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == work.BUSY and not self._has_seen_busy:
            self._has_seen_busy = True
            return "450 4.2.1 Try again later"
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw = envelope.original_content
        if self.files_for is not None and raw is not None:
            # Blocking: if the client dies meanwhile, the mail must not be filed and yet not recorded.
            self._dovecot.deliver(self.files_for, raw, "Sent", flags=["\\Seen"])
        return await super().handle_DATA(server, session, envelope)

    def wait_until_idle(self) -> None:
        """Wait until whatever a dead client has sent is dealt with."""
        wait_until(lambda: self._open_connections() == 0, IDLE_S, "the mail server")

    def _open_connections(self) -> int:
        async def number() -> int:
            return len(asyncio.all_tasks()) - 1  # each is one task, and so is this

        return asyncio.run_coroutine_threadsafe(number(), self._loop).result(IDLE_S)

    def taken(self) -> list[tuple[str, tuple[str, ...]]]:
        """The Message-IDs of the mails that were accepted, and their recipients, in order."""
        return [(_message_id(mail.raw), mail.envelope_recipients) for mail in self.mails]


def _message_id(raw: bytes) -> str:
    found = _MESSAGE_ID.search(raw)
    assert found is not None
    return found[1].decode()


@dataclass(frozen=True)
class SendingMailbox:
    """A connector that sends, with its mailbox."""

    gateway: Gateway
    dovecot: Dovecot
    smtp: MailServer
    user: str
    connector_id: str

    @classmethod
    def made(
        cls, gateway: Gateway, dovecot: Dovecot, smtp: MailServer, *, provider_files: bool
    ) -> "SendingMailbox":
        user = dovecot.new_user()
        smtp.reset()
        smtp.files_for = user if provider_files else None
        row = sending_connector(
            gateway,
            smtp,
            password=dovecot.password,
            imap_host=dovecot.host,
            imap_port=dovecot.port,
            imap_username=user,
            smtp_file_sent="auto" if provider_files else "always",
            provider_files_sent=provider_files,
        )
        return cls(gateway, dovecot, smtp, user, row.id)

    def submissions(self) -> list[Submission]:
        """In the order in which they were asked for."""
        statement = select(Submission).where(col(Submission.connector_id) == self.connector_id)
        with self.gateway.db.reading() as session:
            return list(session.execute(statement.order_by(col(Submission.id))).scalars())

    def settle(self) -> None:
        """Repeat what was asked for, as a caller does who got no answer, and send whatever waits."""
        work.ask_for_mails(self.gateway, self.connector_id)
        work.send_until_rest(self.gateway)

    def resend_uncertain(self) -> list[str]:
        """Command it. Returns the Message-IDs."""
        uncertain = [row for row in self.submissions() if row.status == "uncertain"]
        for row in uncertain:
            with self.gateway.db.unit_of_work() as session:
                ending.retry(session, OWNER, row.id)
        work.send_until_rest(self.gateway)
        return [row.message_id_header for row in uncertain]

    def compare(self, *, deaths: int, resent: Sequence[str] = ()) -> None:
        """Compare what is recorded with what the server has taken, what is in Sent, and what was announced."""
        rows = self.submissions()
        statuses = [str(row.status) for row in rows]
        assert len(rows) == len(WELL), "a submission is lost or doubled"
        ended_well = [status == well for status, well in zip(statuses, WELL, strict=True)]
        uncertain = statuses.count("uncertain")
        assert sum(ended_well) + uncertain == len(WELL), f"{statuses} instead of {WELL}"
        assert uncertain <= (0 if resent else deaths)
        self._compare_recipients(rows, resent)
        self._compare_copies(rows, resent)
        self._compare_order([row for row in rows if row.message_id_header not in resent])
        for row in rows:
            self._compare_events(row)

    def _compare_recipients(self, rows: Sequence[Submission], resent: Sequence[str]) -> None:
        taken = Counter((message, address) for message, to in self.smtp.taken() for address in to)
        for row in rows:
            times = {"sent": {1}, "refused": {0}, "uncertain": {0, 1}}
            if row.message_id_header in resent:
                times["sent"] = {1, 2}
            for recipient in self._recipients(row):
                count = taken[row.message_id_header, recipient.address]
                assert count in times[recipient.status], f"{recipient.status}, and taken {count} times"

    def _compare_copies(self, rows: Sequence[Submission], resent: Sequence[str]) -> None:
        copies = Counter(_message_id(each.raw) for each in self.dovecot.messages(self.user, "Sent"))
        taken = Counter(message for message, _ in self.smtp.taken())
        for row in rows:
            count = copies[row.message_id_header]
            if self.smtp.files_for is not None:  # the provider files one of each mail that it takes
                assert count == taken[row.message_id_header]
            else:
                assert count == (1 if row.status in {"sent", "partly_sent"} else 0), f"{count} copies in Sent"
        assert sum(copies.values()) == sum(copies[row.message_id_header] for row in rows)

    def _compare_order(self, rows: Sequence[Submission]) -> None:
        first = dict.fromkeys(message for message, _ in self.smtp.taken())
        asked = [row.message_id_header for row in rows if row.message_id_header in first]
        assert [each for each in first if each in asked] == asked, (
            "not in the order in which they were asked for"
        )

    def _compare_events(self, row: Submission) -> None:
        statement = select(Event).where(col(Event.subject) == f"submissions/{row.id}")
        with self.gateway.db.reading() as session:
            found = session.execute(statement.order_by(col(Event.position))).scalars().all()
        told = [each.data["status"] for each in found]
        assert told in ([row.status], ["uncertain", row.status]), f"{row.status}, and told {told}"
        kind = "sent" if row.status in {"sent", "partly_sent"} else "failed"
        assert f"submission.{kind}." in found[-1].type

    def _recipients(self, row: Submission) -> Sequence[SubmissionRecipient]:
        statement = select(SubmissionRecipient).where(col(SubmissionRecipient.submission_id) == row.id)
        with self.gateway.db.reading() as session:
            return session.execute(statement).scalars().all()
