"""A power cut, without cutting the power: a process runs under strace, and what it asked of the kernel tells what a
disk would hold that lost everything not yet synced.

A write is there once a sync of its file, begun after it, has ended; a new file once its folder was synced too. That
is the least that POSIX promises; file systems often keep more.
"""

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import TAKES_MAIL_OUT
from tools.servers.process import ServerMissing
from tools.servers.unpack import STRACE, installed_folder, library_path, unpacked

CALLS = "openat,unlink,rename,lseek,write,pwrite64,ftruncate,fsync,fdatasync,sendto"
LONGEST_OCTETS = 64 * 1024 * 1024
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_FILE = re.compile(r"\d+<((?:\\x[0-9a-f]{2})*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_COMMAND = re.compile(rb"\S+ (" + TAKES_MAIL_OUT.encode() + rb" .*)\r\n")


def traced(trace: Path) -> list[str]:
    """The beginning of a command that is to be watched; the trace goes to the file.

    Raises:
        ServerMissing: there is no strace to be had, or it may not trace.
    """
    program, libraries = installed_folder(STRACE), ""
    if program is None:
        tree = unpacked(STRACE)
        program, libraries = tree / "usr/bin", library_path(tree)
    # The libraries are strace's alone. All strings are in hex: nothing in them looks like the trace's own signs.
    own = ["env", f"LD_LIBRARY_PATH={libraries}"] if libraries else []
    options = (
        f"--seccomp-bpf -f -qq -y -xx -s {LONGEST_OCTETS} -e trace={CALLS} -e signal=none -E LD_LIBRARY_PATH"
    )
    command = [*own, str(program / "strace"), *options.split(), "-o", str(trace)]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        raise ServerMissing(f"strace that may trace a process (ptrace): {probe.stderr.strip()}")
    return command


@dataclass(frozen=True)
class Cut:
    """What a power cut leaves of the database at the moment at which a command goes to the mail server."""

    command: bytes
    files: dict[str, bytes]
    """By name."""

    def lay_out(self, folder: Path) -> None:
        """Put the files in an empty folder."""
        folder.mkdir()
        for name, octets in self.files.items():
            (folder / name).write_bytes(octets)


def cuts(trace: Path, database: Path, before: bytes) -> Iterator[Cut]:
    """A power cut at each command that takes mail out of a folder. `before` is the database's file at the beginning
    of the trace, when it was the only one."""
    disk = Disk(database, before)
    begun: dict[str, str] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            thread, call = line.rstrip("\n").split(maxsplit=1)
            resumed = _RESUMED.match(call)
            if resumed is not None:
                disk.end(thread, begun.pop(thread) + call[resumed.end() :])
                continue
            sent = _COMMAND.fullmatch(_text(call)) if call.startswith("sendto(") else None
            if sent is not None:
                yield Cut(sent[1], disk.contents())
            disk.begin(thread, call)
            if call.endswith(_UNFINISHED):
                begun[thread] = call.removesuffix(_UNFINISHED)
            else:
                disk.end(thread, call)


class Disk:
    """The files of the database: what was synced, and what is not synced yet."""

    def __init__(self, database: Path, before: bytes) -> None:
        self._folder = str(database.parent)
        self._database = str(database)
        self._synced = defaultdict(bytearray, {self._database: bytearray(before)})
        self._waiting: dict[str, list[tuple[int, bytes | None]]] = defaultdict(list)
        self._names = {self._database}
        self._synced_names = {self._database}
        self._covers: dict[str, tuple[int, set[str]]] = {}

    def contents(self) -> dict[str, bytes]:
        """What is left if the power is cut now, by the files' names."""
        return {Path(path).name: bytes(self._synced[path]) for path in self._synced_names}

    def begin(self, thread: str, call: str) -> None:
        """A call has begun: a sync covers what was written before."""
        if call.startswith(("fsync(", "fdatasync(")):
            self._covers[thread] = (len(self._waiting[_file(call)]), set(self._names))

    def end(self, thread: str, call: str) -> None:
        """A call has ended."""
        parts = _CALL.match(call)
        if parts is None or int(parts[3]) < 0:
            return
        name, arguments, result = parts[1], parts[2], int(parts[3])
        if name in {"fsync", "fdatasync"}:
            self._sync(thread, _file(call))
        elif name in {"openat", "unlink", "rename"}:
            self._name(name, arguments, _text(arguments).decode())
        elif self._is_ours(_file(call)):
            numbers = arguments.rpartition('"')[2] if name == "pwrite64" else arguments
            assert name in {"pwrite64", "ftruncate"}, f"not understood: {call[:200]}"
            octets = _text(arguments)[:result] if name == "pwrite64" else None
            self._waiting[_file(call)].append((int(numbers.split(",")[-1]), octets))

    def _is_ours(self, path: str) -> bool:
        # The index of the WAL is shared memory; SQLite makes it again from the WAL itself.
        return path.startswith(self._database) and not path.endswith("-shm")

    def _name(self, name: str, arguments: str, path: str) -> None:
        if not self._is_ours(path):
            return
        assert name != "rename"
        if name == "unlink":
            self._names.discard(path)
        elif "O_CREAT" in arguments and path not in self._names:
            self._names.add(path)
            self._synced[path].clear()
            self._waiting[path].clear()

    def _sync(self, thread: str, path: str) -> None:
        count, names = self._covers.pop(thread)
        if path == self._folder:
            self._synced_names = names
            return
        octets = self._synced[path]
        for offset, written in self._waiting[path][:count]:
            if written is None:
                del octets[offset:]
            octets.extend(bytes(max(offset - len(octets), 0)))
            if written is not None:
                octets[offset : offset + len(written)] = written
        del self._waiting[path][:count]


def _file(call: str) -> str:
    """The path of the file that a call is about."""
    found = _FILE.search(call)
    return _unhex(found[1]).decode("utf-8", "surrogateescape") if found is not None else ""


def _text(arguments: str) -> bytes:
    """The first string of the arguments."""
    found = _TEXT.search(arguments)
    return _unhex(found[1]) if found is not None else b""


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
