"""The least that can carry an event from PostgreSQL to a receiver: LISTEN, and a POST for each notification.

`python -m bench.pusher DATABASE_URL CHANNEL RECEIVER_URL` runs until its standard input ends.
"""

import select
import sys
from typing import Any

import httpx
from sqlalchemy import NullPool, create_engine


def main() -> None:
    """Push."""
    database_url, channel, receiver_url = sys.argv[1:]
    engine = create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, httpx.Client(trust_env=False) as client:
        connection.exec_driver_sql(f"LISTEN {channel}")
        driver: Any = connection.connection.driver_connection
        print("listening", flush=True)
        while True:
            for notification in driver.notifies(timeout=0):
                client.post(receiver_url, content=notification.payload).raise_for_status()
            if sys.stdin in select.select([driver.fileno(), sys.stdin], [], [])[0]:
                return


if __name__ == "__main__":
    main()
