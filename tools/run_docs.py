"""Run the examples of a Markdown page and check what they print.

A page runs in a folder of its own, its blocks from top to bottom in one namespace. What a fence says decides:

    ```python                     runs; a failure names the page and the line
    ```text                       right after a block that ran: what that block printed (`...` stands for anything)
    ```shell run                  each line runs in a shell, in the same folder; `cd` lasts for the blocks after it
    ```yaml file=repo/store.yaml  is written to that file; so is any other block with file=
    ```python no-run              is left alone; so is every block of another language
    <!-- clock: 2024-06-01T00:00:00Z -->  the blocks below run with this as the current time

Port 6566, where a server listens by default, is a free port in what runs. What a shell block leaves running is ended
with the page. `python tools/run_docs.py PAGE...` runs pages by hand; tests/test_docs.py runs them all.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_CLOCK = re.compile(r"<!-- clock: (?P<time>\S+) -->")
_PORT = 6566


class ExampleError(AssertionError):
    """An example of a page fails or prints something other than the page says."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page that does something."""

    kind: str
    """python, shell or file."""
    line: int
    """Line of the page on which the block's first line stands, from 1."""
    text: str
    """What is inside the fence."""
    target: str | None
    """The file to write, for kind file."""
    clock: str | None
    """The time to run at, as written in the page; None is the real time."""
    output: str | None
    """What the page says it prints; None when the page does not show it."""


def read_blocks(page: Path) -> list[Block]:
    """Read the blocks of a page that run or are written to a file."""
    blocks: list[Block] = []
    clock: str | None = None
    output_of: Block | None = None
    for line, info, text in _fences_and_comments(page.read_text(encoding="utf-8")):
        if info is None:
            clock = text
        elif info == "text" and output_of is not None:
            blocks[-1] = replace(output_of, output=text)
            output_of = None
        elif (block := _block(line, info, text, clock)) is not None:
            blocks.append(block)
            output_of = block if block.kind != "file" else None
        else:
            output_of = None
    return blocks


def run_page(page: Path, folder: Path) -> int:
    """Run a page's blocks in a folder and return how many there were; raise ExampleError at the first that fails."""
    blocks = _on_a_free_port(read_blocks(page))
    module = ModuleType("__page__")
    before = set(sys.modules)
    with _inside(folder), _ending() as shells:
        sys.modules["__page__"] = module
        try:
            for block in blocks:
                _run_block(block, page, folder, module, shells)
        finally:
            _forget_modules(set(sys.modules) - before, folder)
    return len(blocks)


def main(arguments: list[str]) -> int:
    """Run the pages named and say how many examples each had."""
    for name in arguments:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{name}: {run_page(Path(name).resolve(), Path(folder).resolve())} blocks ran")
            except ExampleError as error:
                print(error, file=sys.stderr)
                return 1
    return 0


# Reading


def _fences_and_comments(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Yield (first line inside, info, text) for each fence and (line, None, time) for each clock comment."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        number += 1
        if comment := _CLOCK.fullmatch(lines[number - 1].strip()):
            yield number, None, comment["time"]
        if fence := _FENCE.match(lines[number - 1]):
            first, indent = number, len(fence["indent"])
            while number < len(lines) and lines[number].strip() != fence["ticks"]:
                number += 1
            yield first + 1, fence["info"].strip(), "\n".join(line[indent:] for line in lines[first:number]) + "\n"
            number += 1


def _block(line: int, info: str, text: str, clock: str | None) -> Block | None:
    language, *words = shlex.split(info) or [""]
    for word in words:
        if word.startswith("file="):
            return Block("file", line, text, word.removeprefix("file="), clock, None)
    if language == "python" and "no-run" not in words:
        return Block("python", line, text, None, clock, None)
    if language == "shell" and "run" in words:
        return Block("shell", line, text, None, clock, None)
    return None


# Running


def _on_a_free_port(blocks: list[Block]) -> list[Block]:
    """Return blocks that use a free port where the page has a server's usual one, which may be taken here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])

    def moved(text: str) -> str:
        return re.sub(rf"\b{_PORT}\b", port, text)

    return [replace(one, text=moved(one.text), output=one.output and moved(one.output)) for one in blocks]


def _run_block(block: Block, page: Path, folder: Path, module: ModuleType, shells: list[int]) -> None:
    where = f"{page}:{block.line}"
    if block.kind == "file":
        _write_file(block, folder, where)
        return
    with _clock(block.clock):
        try:
            printed = _run_python(block, page, module) if block.kind == "python" else _run_shell(block, shells)
        except Exception as error:
            raise ExampleError(f"{where}: this {block.kind} block fails: {type(error).__name__}: {error}") from error
    if block.output is not None and not _same(block.output, printed):
        raise ExampleError(f"{where}: the page says this prints\n{block.output}\nbut it prints\n{printed}")


def _write_file(block: Block, folder: Path, where: str) -> None:
    path = (Path.cwd() / (block.target or "")).resolve()
    if not path.is_relative_to(folder):
        raise ExampleError(f"{where}: file={block.target} is outside the page's folder; use a relative path")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def _run_python(block: Block, page: Path, module: ModuleType) -> str:
    # Padded to its line, so that tracebacks and inspect.getsource find the code in the page itself.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, module.__dict__)
    return printed.getvalue()


def _run_shell(block: Block, shells: list[int]) -> str:
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as ended_in:
        script = f"set -e\n{block.text}\npwd -P > {shlex.quote(ended_in.name)}\n"
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            ["sh"], stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment, start_new_session=True
        ) as shell:
            shells.append(shell.pid)
            printed, errors = shell.communicate(script)
        if shell.returncode != 0:
            raise ExampleError(f"exit code {shell.returncode}\n{printed}{errors}")
        os.chdir(ended_in.read().rstrip("\n"))
    return printed


@contextlib.contextmanager
def _ending() -> Iterator[list[int]]:
    """Yield a list for the shells that are started; end what they have left running."""
    shells: list[int] = []
    try:
        yield shells
    finally:
        for shell in shells if sys.platform != "win32" else ():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell, signal.SIGTERM)


def _same(expected: str, printed: str) -> bool:
    def clean(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"

    return doctest.OutputChecker().check_output(clean(expected), clean(printed), doctest.ELLIPSIS)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, path = Path.cwd(), sys.path.copy()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


@contextlib.contextmanager
def _clock(time: str | None) -> Iterator[None]:
    before = os.environ.pop("LIKEWISE_NOW", None)
    if time is not None:
        os.environ["LIKEWISE_NOW"] = time
    try:
        yield
    finally:
        os.environ.pop("LIKEWISE_NOW", None)
        if before is not None:
            os.environ["LIKEWISE_NOW"] = before


def _forget_modules(names: set[str], folder: Path) -> None:
    """Forget the modules that a page wrote and imported, so that the next page may use the same names."""
    sys.modules.pop("__page__", None)
    for name in names:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin is not None and Path(origin).is_relative_to(folder):
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
