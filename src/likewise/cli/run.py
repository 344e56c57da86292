"""Running a program that was written for Feast, unchanged."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from likewise.core.errors import RequestError
from likewise.define.feast import install

SHIM = Path(__file__).parents[1] / "feast_shim"
"""The folder with what other programs find under the name ``feast``."""


def run_environment() -> dict[str, str]:
    """Return the variables that make ``feast`` mean Likewise in another program.

    ``PATH`` finds the command ``feast``, and this Python first; ``PYTHONPATH`` finds the module. Both keep what they
    held. Add them to the variables of this process.

    Example:
        >>> sorted(run_environment())
        ['LIKEWISE_PYTHON', 'PATH', 'PYTHONPATH']
    """
    commands = [str(SHIM / "bin"), str(Path(sys.executable).parent)]
    return {
        "PATH": _first(commands, os.environ.get("PATH", os.defpath)),
        "PYTHONPATH": _first([str(SHIM)], os.environ.get("PYTHONPATH", "")),
        "LIKEWISE_PYTHON": sys.executable,
    }


def run_program(argv: Sequence[str]) -> int:
    """Run a program in which ``feast`` means Likewise, and return its exit code.

    A Python program (``script.py``, a folder with a ``__main__.py``, or ``-m module``) runs in this process; any other
    command runs in its own, and finds ``feast`` as a command and as a module.

    Args:
        argv: the program and its arguments, at least one.

    Raises:
        RequestError: there is no such program.
    """
    if not argv:
        raise RequestError(
            "there is nothing to run", cure="write 'likewise run script.py', or any other command after 'likewise run'"
        )
    os.environ.update(run_environment())
    if argv[0] == "-m" and len(argv) > 1:
        return _run_python(argv[1], argv[1:], is_module=True)
    if argv[0].endswith((".py", ".pyw", ".pyz")) or (Path(argv[0]) / "__main__.py").is_file():
        _must_exist(argv[0])
        return _run_python(argv[0], argv, is_module=False)
    return _run_command(argv)


def _must_exist(script: str) -> None:
    if not Path(script).exists():
        raise RequestError(f"there is no file {script!r} in {Path.cwd()}", cure="give the path of the program to run")


def _run_python(program: str, argv: Sequence[str], *, is_module: bool) -> int:
    install()
    sys.argv = list(argv)
    try:
        if is_module:
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            script = Path(program)
            sys.path.insert(0, str((script if script.is_dir() else script.parent).resolve()))
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        return _exit_code(end.code)
    except Exception as error:  # noqa: BLE001 - the program's own errors are shown as Python shows them
        _show(error)
        return 1
    return 0


def _exit_code(code: object) -> int:
    """Do as Python does: None is success, a number is itself, anything else is shown and means failure."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stderr.write(f"{code}\n")
    return 1


def _show(error: BaseException) -> None:
    """Print a traceback that begins with the program's own first line."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _is_ours(file: str) -> bool:
    return file in (__file__, "<frozen runpy>") or file == runpy.__file__


def _run_command(argv: Sequence[str]) -> int:
    program = shutil.which(argv[0])
    if program is None:
        raise RequestError(
            f"there is no command {argv[0]!r}",
            cure="give a Python program by its path (script.py), '-m module', or a command that PATH finds",
        )
    with subprocess.Popen([program, *argv[1:]]) as process:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # the program has heard of it as well, and decides
                continue
    return code if code >= 0 else 128 + signal.Signals(-code).value


def _first(paths: Sequence[str], others: str) -> str:
    kept = [path for path in others.split(os.pathsep) if path and path not in paths]
    return os.pathsep.join([*paths, *kept])
