"""A power cut: what may be left of a folder when a machine stops, of all that a program had not synced yet (Linux).

Killing a process proves little of this: the operating system keeps what was written. So the program runs under ptrace,
and :func:`record` notes each write, truncation, rename and fsync of its files, whatever library makes them::

    recording = record(PROGRAM, folder)                # the program prints what it has done
    for cut in recording.cuts(50, seed=7):
        cut.write(after)                               # a state in which the folder may be found
        assert stored(after) >= len(cut.told.split())  # what was told is there

What a disk may do, in this model: a write is safe once a later fsync or fdatasync of its file has returned, or at once
where the file was opened with O_SYNC or O_DSYNC. Of all others each one is there, is not, or is there in part, by
sectors of 512 bytes. Names (made, renamed, removed) come to the disk in the order in which they were made; they are
safe once an fsync of a folder has returned. What was there before the program began is safe.
"""

from __future__ import annotations

import ctypes
import os
import platform
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from likewise.core.errors import StoreError
from likewise.testing.disk import MachineRefuses

__all__ = ["Cut", "Recording", "record"]

_SECTOR = 512
"""What a disk writes whole, in bytes."""
_CALLS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "x86_64": {
        "write": [1],
        "pwrite": [18],
        "writev": [20],
        "pwritev": [296, 328],
        "truncate": [77],
        "allocate": [285],
        "sync": [74, 75],
        "open": [2],
        "openat": [257],
        "names": [82, 83, 84, 85, 86, 87, 258, 263, 264, 265, 316],
    },
    "aarch64": {
        "write": [64],
        "pwrite": [68],
        "writev": [66],
        "pwritev": [70, 287],
        "truncate": [46],
        "allocate": [47],
        "sync": [82, 83],
        "openat": [56],
        "names": [34, 35, 37, 38, 276],
    },
}
"""What system calls do to files, and their numbers; "names": rename, unlink, mkdir, rmdir, link."""
_CONTINUE, _TO_NEXT_CALL, _SET_OPTIONS, _CALL_INFO = 7, 24, 0x4200, 0x420E
_OPTIONS = 1 | 2 | 4 | 8 | 0x100000
"""Mark the stops at system calls; follow forks, vforks and threads; end the program when the tracer ends."""
_ALL_THREADS = 0x40000000
_TRACE_ME = "import ctypes, os, signal; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"
_STOP = "os.kill(os.getpid(), signal.SIGSTOP)"
_SECONDS = 100.0

Tree = Mapping[str, int | None]
"""The names below a folder: the number of each file, None for a folder."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of what a file holds."""

    file: int
    """Its number."""
    offset: int
    """Where, in bytes; for a truncation the new size."""
    data: bytes | None
    """What was written; None for a truncation; empty: the file reaches to the offset at least."""
    safe: bool
    """Whether it is on the disk when it returns."""


@dataclass(frozen=True, slots=True)
class _Sync:
    """Changes are on the disk from here on."""

    file: int | None
    """Whose; None: the names."""


Event = _Change | _Sync | Mapping[str, int | None] | bytes
"""A change, a sync, the names that there are now, or what the program told."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The power fails at one moment."""

    told: str
    """What the program had told by then, on its standard output."""
    moment: int
    """Behind how many events."""
    _events: Sequence[Event]
    _before: Mapping[int, bytes]
    _seed: str

    def write(self, folder: Path) -> None:
        """Make a new folder one that the disk may hold after this cut.

        Args:
            folder: it is made, or emptied.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        luck = random.Random(self._seed)
        share = luck.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        for name, file in sorted(self._names(luck).items()):
            if file is None:
                (folder / name).mkdir(exist_ok=True)
            else:
                (folder / name).write_bytes(self._content(file, luck, share))

    def _names(self, luck: random.Random) -> Tree:
        safe = max((n for n, event in enumerate(self._events) if event == _Sync(None)), default=0)
        trees = [(n, event) for n, event in enumerate(self._events) if isinstance(event, Mapping)]
        first = max(place for place, (n, _) in enumerate(trees) if n <= safe)
        return luck.choice([tree for _, tree in trees[first:]])

    def _content(self, file: int, luck: random.Random, share: float) -> bytes:
        safe = max((n for n, event in enumerate(self._events) if event == _Sync(file)), default=-1)
        content = bytearray(self._before.get(file, b""))
        for number, event in enumerate(self._events):
            if not isinstance(event, _Change) or event.file != file:
                continue
            if event.safe or number < safe or luck.random() < share:
                _apply(content, event)
            elif event.data and share:
                for piece in _sectors(event):
                    if luck.random() < share:
                        _apply(content, piece)
        return bytes(content)


@dataclass(frozen=True, slots=True)
class Recording:
    """What a program did to its files."""

    events: Sequence[Event]
    """All of it, in order; the first are the names that there were."""
    before: Mapping[int, bytes]
    """What the files held before, by number."""

    def cuts(self, count: int, seed: int = 0) -> Iterator[Cut]:
        """Yield cuts at random moments.

        Args:
            count: how many.
            seed: of what is random.
        """
        luck = random.Random(seed)
        for number in range(count):
            yield self.cut(luck.randint(1, len(self.events)), f"{seed} {number}")

    def cut(self, moment: int, seed: str = "") -> Cut:
        """Return a cut behind this many events, at least 1.

        Args:
            moment: behind how many.
            seed: of which unsafe writes are there.
        """
        events = self.events[:moment]
        told = b"".join(event for event in events if isinstance(event, bytes)).decode()
        return Cut(told, moment, events, self.before, f"{moment} {seed}")

    def content(self, name: str) -> bytes:
        """Return what a file holds at the end, if everything comes to the disk."""
        (*_, tree) = (event for event in self.events if isinstance(event, Mapping))
        file = tree[name]
        assert file is not None, f"{name} is a folder"
        content = bytearray(self.before.get(file, b""))
        for event in self.events:
            if isinstance(event, _Change) and event.file == file:
                _apply(content, event)
        return bytes(content)


def record(program: str, folder: Path, *arguments: str, imports: str = "", unseen: Sequence[str] = ()) -> Recording:
    """Run a program, and note all that it does to the files of a folder.

    Args:
        program: Python source; ``sys.argv[1:]`` is the folder, then the arguments.
        folder: the folder, which exists.
        arguments: for the program.
        imports: Python source that runs before it; what that does is not noted, which is quicker.
        unseen: names of files whose content may differ from what was noted, such as one that is mapped into memory.

    Raises:
        MachineRefuses: this machine does not let a program be traced.
        StoreError: the program fails, or changed a file in a way that was not seen, such as a memory map.

    Example:
        >>> import tempfile
        >>> program = "import sys; open(sys.argv[1] + '/a', 'w').write('hello'); print('written')"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     recording = record(program, Path(folder))
        >>> recording.content("a"), recording.cut(len(recording.events)).told
        (b'hello', 'written\\n')
    """
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        raise MachineRefuses("power cuts are recorded on Linux, on x86_64 and aarch64", cure="run this test there")
    with tempfile.TemporaryFile() as errors:
        source = "\n".join([_TRACE_ME, _STOP, imports, _STOP, program])
        command = [sys.executable, "-c", source, str(folder), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        timer = threading.Timer(_SECONDS, process.kill)
        timer.start()
        try:
            tracer = _Tracer(process.pid, folder)
            process.returncode = tracer.run()
        finally:
            timer.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
        if process.returncode:
            raise StoreError(f"the recorded program ends with {process.returncode}: {_text(errors)}", cure="see above")
    recording = Recording(tracer.events, tracer.before)
    for name, file in tracer.tree.items():
        if (
            file is not None
            and Path(name).name not in unseen
            and recording.content(name) != (folder / name).read_bytes()
        ):
            raise StoreError(
                f"{name} was written in a way that is not seen", cure="if that is all right, name it unseen"
            )
    return recording


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")[-2000:]


def _apply(content: bytearray, change: _Change) -> None:
    """Change what a file holds."""
    end = change.offset + len(change.data or b"")
    content.extend(bytes(max(0, end - len(content))))
    if change.data is None:
        del content[end:]
    else:
        content[change.offset : end] = change.data


def _sectors(change: _Change) -> Iterator[_Change]:
    """Yield the parts of a write that a disk writes whole."""
    data, start = change.data or b"", change.offset
    while data:
        room = _SECTOR - start % _SECTOR
        yield _Change(change.file, start, data[:room], False)
        data, start = data[room:], start + room


class _Tracer:
    """Follows a program from system call to system call.

    Args:
        process: its number; it stops itself, to be followed.
        folder: whose files count.
    """

    def __init__(self, process: int, folder: Path) -> None:
        self._process, self._folder = process, folder
        self._calls = {n: kind for kind, numbers in _CALLS[platform.machine()].items() for n in numbers}
        self._ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self._ptrace.restype = ctypes.c_long
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._inside: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._made = 0
        self.tree = self._look()
        self.events: list[Event] = [self.tree]
        self.before = {n: (folder / name).read_bytes() for name, n in self.tree.items() if n is not None}

    def run(self) -> int:
        """Follow the program to its end, and return its exit code."""
        os.waitpid(self._process, os.WUNTRACED)
        if self._ptrace(_SET_OPTIONS, self._process, None, _OPTIONS) != 0:
            raise MachineRefuses("this machine does not let a program be traced", cure="allow ptrace")
        self._ptrace(_CONTINUE, self._process, None, None)
        how = _CONTINUE
        while True:
            thread, status = os.waitpid(-self._process, _ALL_THREADS)
            if not os.WIFSTOPPED(status):
                if thread == self._process:
                    return os.waitstatus_to_exitcode(status)
                continue
            number = os.WSTOPSIG(status)
            if number == signal.SIGTRAP | 0x80:
                self._call(thread)
            elif number == signal.SIGSTOP and thread == self._process:
                how = _TO_NEXT_CALL
            ours = number & 0x7F in (signal.SIGTRAP, signal.SIGSTOP)
            self._ptrace(how, thread, None, None if ours else number)

    def _call(self, thread: int) -> None:
        """Note a system call that begins or ends."""
        info = ctypes.create_string_buffer(96)
        self._ptrace(_CALL_INFO, thread, 96, ctypes.addressof(info))
        if info.raw[0] == 1:
            number, *arguments = struct.unpack_from("<7Q", info.raw, 24)
            if number in self._calls:
                self._inside[thread] = self._calls[number], tuple(arguments)
        elif thread in self._inside:
            kind, arguments_of = self._inside.pop(thread)
            result, failed = struct.unpack_from("<qB", info.raw, 24)
            if not failed:
                self._ended(thread, kind, arguments_of, result)

    def _ended(self, thread: int, kind: str, arguments: tuple[int, ...], result: int) -> None:
        match kind:
            case "names":
                self._renamed()
            case "open" | "openat":
                flags = arguments[1 if kind == "open" else 2]
                if flags & os.O_CREAT:
                    self._renamed()
                if flags & os.O_TRUNC:
                    self._changed(thread, result, lambda place: (0, None))
            case "sync":
                self._synced(thread, arguments[0])
            case "truncate":
                self._changed(thread, arguments[0], lambda place: (arguments[1], None))
            case "allocate":
                self._changed(thread, arguments[0], lambda place: (arguments[2] + arguments[3], b""))
            case _:
                self._written(thread, kind, arguments, result)

    def _written(self, thread: int, kind: str, arguments: tuple[int, ...], result: int) -> None:
        if arguments[0] == 1 and thread == self._process:
            self.events.append(self._memory(thread, kind, arguments, result))
            return
        at = arguments[3] if kind.startswith("p") else None

        def change(place: int) -> tuple[int, bytes]:
            return place - result if at is None else at, self._memory(thread, kind, arguments, result)

        self._changed(thread, arguments[0], change)

    def _memory(self, thread: int, kind: str, arguments: tuple[int, ...], size: int) -> bytes:
        """Return what a call wrote."""
        with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:

            def read(at: int, count: int) -> bytes:
                memory.seek(at)
                return memory.read(count)

            if not kind.endswith("v"):
                return read(arguments[1], size)
            parts = struct.iter_unpack("<QQ", read(arguments[1], 16 * arguments[2]))
            return b"".join(read(at, count) for at, count in parts)[:size]

    def _changed(self, thread: int, number: int, change: Callable[[int], tuple[int, bytes | None]]) -> None:
        """Note a change of the file that a thread has open under a number, if it is one of the folder's."""
        found = os.stat(f"/proc/{thread}/fd/{number}")  # noqa: PTH116 - follows what has no path any more
        file = self._numbers.get((found.st_dev, found.st_ino))
        if file is None or not stat.S_ISREG(found.st_mode):
            return
        said = dict(line.split(":\t") for line in Path(f"/proc/{thread}/fdinfo/{number}").read_text().splitlines()[:2])
        offset, data = change(int(said["pos"]))
        self.events.append(_Change(file, offset, data, bool(int(said["flags"], 8) & os.O_DSYNC)))

    def _synced(self, thread: int, number: int) -> None:
        found = os.stat(f"/proc/{thread}/fd/{number}")  # noqa: PTH116 - follows what has no path any more
        if stat.S_ISDIR(found.st_mode):
            self.events.append(_Sync(None))
        elif (file := self._numbers.get((found.st_dev, found.st_ino))) is not None:
            self.events.append(_Sync(file))

    def _renamed(self) -> None:
        tree = self._look()
        if tree != self.tree:
            self.tree = tree
            self.events.append(tree)

    def _look(self) -> dict[str, int | None]:
        """Return the names that there are; a file that was not there before gets a number of its own."""
        tree: dict[str, int | None] = {}
        seen: dict[tuple[int, int], int] = {}
        for path in sorted(self._folder.rglob("*")):
            found = path.stat()
            mark, name = (found.st_dev, found.st_ino), path.relative_to(self._folder).as_posix()
            if path.is_dir():
                tree[name] = None
                continue
            if mark not in self._numbers and mark not in seen:
                self._made += 1
            tree[name] = seen[mark] = self._numbers.get(mark, seen.get(mark, self._made))
        self._numbers = seen
        return tree
