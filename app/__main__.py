"""The console script, and `python -m app`. It answers `--version` by itself: to load the service takes seconds."""

import sys

from app import __version__


def main() -> None:
    """The entry point."""
    if sys.argv[1:] == ["--version"]:
        print(f"imap-gateway {__version__}")
        return
    from app import cli  # noqa: PLC0415 - see above

    cli.main()


if __name__ == "__main__":
    main()
