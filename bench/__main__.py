"""`make bench`: measures the fetch cycle; `ARGS=reader`: the reader; `ARGS=abuse`: what abuse costs others;
`ARGS=events`: how long events take. Further arguments go to the benchmark."""

import sys

from bench import abuse, events, fetch, reader

BENCHES = {"abuse": abuse.main, "events": events.main, "fetch": fetch.main, "reader": reader.main}


def main() -> None:
    """Run the benchmark in the first argument, or the fetch cycle."""
    arguments = sys.argv[1:]
    name = arguments.pop(0) if arguments and arguments[0] in BENCHES else "fetch"
    BENCHES[name](arguments)


if __name__ == "__main__":
    main()
