"""Prints each message once it is there, also after a restart: `IMAP_GATEWAY=https://… TOKEN=… python poller.py`. Needs
`pip install httpx`."""

import os
import time
from pathlib import Path

import httpx

PLACE = Path("place.txt")  # in your program the place is stored in the transaction that stores the messages
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}

with httpx.Client(base_url=os.environ["IMAP_GATEWAY"], headers=HEADERS, timeout=60) as gateway:
    while True:
        after = {"after": PLACE.read_text()} if PLACE.exists() else {}
        try:
            # The answer comes when there is something new, or after half a minute: no need to ask more often.
            answer = gateway.get("/messages", params={"wait_s": 30, **after})
        except httpx.TransportError:
            time.sleep(5)
            continue
        if answer.status_code in {429, 502, 503, 504}:
            time.sleep(int(answer.headers.get("Retry-After", "5")))
            continue
        if answer.status_code == 410:  # the gateway's database was restored from a backup
            PLACE.write_text(answer.json()["cursors"]["oldest"])
            continue
        answer.raise_for_status()
        page = answer.json()
        for message in page["data"]:
            sender = message["from"]["address"] if message["from"] else "nobody"
            print(message["id"], sender, message["subject"], flush=True)  # here your program stores it
        PLACE.write_text(page["next_cursor"])
