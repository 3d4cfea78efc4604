"""`make run`: starts the plain service with settings for development. They are kept in `.dev.env`, so that tokens and
stored passwords stay valid from one start to the next. The environment overrides them."""

import os
import secrets
import shlex
import socket
import sys
from pathlib import Path

from app import database_files

SETTINGS = Path(".dev.env")
PORT = 8000


def free_port() -> int:
    """The usual port, or a free one if another program uses it."""
    for port in (PORT, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise SystemExit("There is no free port.")


def main() -> None:
    """Make the settings if there are none, say what to do next, and become the service."""
    if not SETTINGS.exists():
        made = {
            "GATEWAY_DATABASE_URL": "sqlite:///./gateway.db",
            "GATEWAY_SECRET_KEYS": secrets.token_urlsafe(32),
            "GATEWAY_JWT_SECRET": secrets.token_urlsafe(32),
            "GATEWAY_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8,::1/128",
        }
        SETTINGS.touch(mode=0o600)
        SETTINGS.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in made.items()))
    database_files.narrow(SETTINGS)  # it holds keys
    for line in SETTINGS.read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ.setdefault(name, shlex.split(value)[0] if value else "")
    command = Path(sys.executable).with_name("imap-gateway")
    port = free_port()
    print(f"API docs: http://127.0.0.1:{port}/docs")
    print(
        f"a token:  . ./{SETTINGS} && {command.relative_to(Path.cwd())} token --sub me --role admin --group all"
    )
    sys.stdout.flush()
    os.execv(command, [str(command), "serve", "--host", "127.0.0.1", "--port", str(port)])


if __name__ == "__main__":
    main()
