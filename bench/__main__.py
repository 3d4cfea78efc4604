"""`make bench`: measures the fetch cycle; `make bench ARGS=reader`: the reader. Further arguments go to the benchmark."""

import sys

from bench import fetch, reader

BENCHES = {"fetch": fetch.main, "reader": reader.main}


def main() -> None:
    """Run the benchmark in the first argument, or the fetch cycle."""
    arguments = sys.argv[1:]
    name = arguments.pop(0) if arguments and arguments[0] in BENCHES else "fetch"
    BENCHES[name](arguments)


if __name__ == "__main__":
    main()
