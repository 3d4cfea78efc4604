"""The parser process as it is, with an ear at the interpreter: what it imports or opens once it is in its sandbox.

Serves as `app.mime.worker` does; when its standard input ends, it writes a JSON list of those events to standard error.
"""

import json
import sys
from typing import BinaryIO

from app.mime import worker

EVENTS = frozenset({"import", "open", "os.listdir", "os.scandir", "socket.__new__", "subprocess.Popen"})


def main() -> None:
    """Serve, listening from the moment the sandbox is shut."""
    heard: list[str] = []
    serve = worker.serve

    def served(
        requests: BinaryIO, replies: BinaryIO, cpu_s: float, cpu_s_per_megabyte: float, memory: int
    ) -> None:
        sys.addaudithook(
            lambda event, values: heard.append(f"{event} {values[0]}") if event in EVENTS else None
        )
        serve(requests, replies, cpu_s, cpu_s_per_megabyte, memory)

    worker.serve = served
    worker.main()
    sys.stderr.write(json.dumps(heard))


if __name__ == "__main__":
    main()
