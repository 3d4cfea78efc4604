"""Parser processes that serve one test after the other."""

from app.adapters.parser import ParserPool


class KeptParsers(ParserPool):
    """Parser processes that outlive the gateway that is closed."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()
