"""Receives the events of a webhook: `WEBHOOK_SECRET=whsec_… python receiver.py 8080`. Needs `pip install standardwebhooks`."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
known: set[str] = set()  # in your program a table with a unique key: an event may come twice


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        octets = int(self.headers.get("Content-Length") or 0)
        if octets > 1_000_000:  # an event has less than a kilobyte
            return self.answer(413)
        try:
            event = webhook.verify(self.rfile.read(octets), dict(self.headers.items()))
        except WebhookVerificationError:
            return self.answer(401)
        if event["id"] not in known:
            print(event["type"], event["subject"], flush=True)  # here your program writes it down
            known.add(event["id"])
        return self.answer(204)  # only now: what is not answered with 2xx comes again

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
