"""UserFunction: a function that people write for features, known by the hash of its source.

The hash covers the function's text and what it uses from the repo's own modules: functions, classes and constants,
wherever in the file they stand (S10). Libraries, and what objects hold that are neither, such as a trained model, it
does not cover. Its code is never stored; the registry keeps the text, to be read, and the hash, to be compared.
"""

from __future__ import annotations

import ast
import enum
import functools
import hashlib
import inspect
import os
import sys
import textwrap
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from likewise.core.errors import InvalidDefinition
from likewise.define.definition import Definition

_STANDARD = f"{Path(os.__file__).parent}{os.sep}"
_LIKEWISE = f"{Path(__file__).parents[1]}{os.sep}"
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_VALUES = frozenset({"datetime", "decimal", "fractions", "re", "uuid", "zoneinfo"})
"""The modules of the standard library whose objects are constants with a text of their own."""


@dataclass(frozen=True)  # without slots, for the hash is kept once it is computed
class UserFunction:
    """A user's function, as a definition knows it."""

    name: str
    """The function's name."""
    file: str
    """The file that holds it; as Python knows it."""
    line: int
    """The line its source begins at, from 1."""
    text: str
    """Its source text, without decorators."""
    known_hash: str
    """Its hash as the registry has it; empty when it is to be computed from the function."""
    call: Callable[..., Any] | None
    """The function itself; None when it was read from the registry."""

    @cached_property
    def hash(self) -> str:
        """sha256, in hex, over its text and the texts of what it uses from the repo's own modules.

        It is computed when it is first asked for, which is after the whole repo was loaded: a function may use what
        stands below it in its file.
        """
        if self.known_hash or self.call is None:
            return self.known_hash
        parts = [self.text, *_Sources(_plain(self.call)).parts]
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def describe_function(function: object, text: str = "") -> UserFunction:
    """Describe a user's function by its source.

    Args:
        function: a plain function of a module or a notebook cell.
        text: its source text, where Python cannot find it.

    Raises:
        InvalidDefinition: its source cannot be read, or it is no plain function.
    """
    plain = _plain(function)
    code, call = plain.__code__, function if callable(function) else plain
    return UserFunction(plain.__name__, code.co_filename, code.co_firstlineno, text or _source_of(plain), "", call)


def described(owner: Definition, function: object, text: object = "") -> UserFunction | None:
    """Describe the function of a definition; note on ``owner`` what cannot be one."""
    if isinstance(function, UserFunction):
        return function
    shown = owner.expect(text, str, "udf_string", "")
    return owner.attempt(lambda: describe_function(function, shown), None)


def name_of(function: object) -> str:
    """Return the name that a function gives to what it is decorated as; empty for what has none.

    Example:
        >>> name_of(name_of), name_of(5)
        ('name_of', '')
    """
    return function.__name__ if isinstance(function, types.FunctionType) else ""


def _plain(function: object) -> types.FunctionType:
    plain = inspect.unwrap(function) if callable(function) else function
    if isinstance(plain, types.FunctionType):
        return plain
    raise InvalidDefinition(f"{function!r} is not a plain function", cure="give a function made with def")


def _source_of(function: types.FunctionType) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise InvalidDefinition(
            f"the source of function {function.__name__!r} cannot be read",
            cure="define it in a file or a notebook cell, not by exec or in a bare prompt",
        ) from error
    return _without_decorators(text)


def _without_decorators(text: str) -> str:
    try:
        node = ast.parse(text).body[0]
    except SyntaxError:  # a lambda inside an expression
        return text.strip()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        text = "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


class _Sources:
    """Collects the texts of all that a function uses from the repo's own modules, each once, in the order of names."""

    def __init__(self, function: types.FunctionType) -> None:
        self.parts: list[str] = []
        self._folder = Path(function.__code__.co_filename).parent
        self._seen: dict[int, object] = {id(function): function}
        self._open: list[object] = []
        self._uses_of(function)

    def _uses_of(self, function: types.FunctionType) -> None:
        used = _used_names(function.__code__)
        reached = {name: function.__globals__[name] for name in used if name in function.__globals__}
        reached.update(_enclosed(function))
        for name in sorted(reached):
            if isinstance(reached[name], types.ModuleType):
                self._uses_of_module(reached[name], used)
            else:
                self.parts.append(f"{name}={self._text(reached[name])}")
        for given in (function.__defaults__ or (), function.__kwdefaults__ or {}):
            self.parts.append(self._text(given))

    def _uses_of_module(self, module: types.ModuleType, used: set[str]) -> None:
        """Collect the attributes of one of the repo's modules that a function uses: ``rates.scale(x)``."""
        if not _is_own(module.__dict__.get("__file__")) or module in self._open:
            return
        self._open.append(module)
        for name in sorted(used & module.__dict__.keys()):
            value = module.__dict__[name]
            if isinstance(value, types.ModuleType):
                self._uses_of_module(value, used)
            else:
                self.parts.append(f"{module.__name__}.{name}={self._text(value)}")
        self._open.pop()

    def _text(self, value: object) -> str:
        """Return a text of a value that is the same in every process; collect the sources that it brings in."""
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}={self._text(value.value)}"
        if isinstance(value, str):
            return repr(_portable(value, self._folder))
        for kind in (bool, int, float, bytes, complex):
            if isinstance(value, kind):
                return kind.__repr__(value)
        if value is None or value is ... or type(value).__module__ in _VALUES:
            return repr(value)
        if isinstance(value, list | tuple | set | frozenset | dict):
            return self._text_of_items(value)
        return self._text_of_object(value)

    def _text_of_items(self, value: Iterable[object]) -> str:
        if any(value is outer for outer in self._open):
            return "…"
        self._open.append(value)
        if isinstance(value, dict):
            texts = [f"{self._text(key)}: {self._text(item)}" for key, item in value.items()]
        else:
            texts = [self._text(item) for item in value]
        self._open.pop()
        ordered = sorted(texts) if isinstance(value, set | frozenset) else texts
        return f"{type(value).__name__}({', '.join(ordered)})"

    def _text_of_object(self, value: object) -> str:
        if isinstance(value, functools.partial):
            return f"partial{self._text((value.func, value.args, value.keywords))}"
        plain = inspect.unwrap(value) if callable(value) else value
        if isinstance(plain, types.FunctionType):
            self._collect_function(plain)
            return plain.__qualname__
        kind = plain if isinstance(plain, type) else type(plain)
        self._collect_class(kind)
        return kind.__qualname__

    def _collect_function(self, function: types.FunctionType) -> None:
        if id(function) in self._seen or not _is_own(function.__code__.co_filename):
            return
        self._seen[id(function)] = function
        try:
            self.parts.append(_source_of(function))
        except InvalidDefinition:  # one that a library made, such as a dataclass's
            self.parts.append(function.__qualname__)
        self._uses_of(function)

    def _collect_class(self, kind: type) -> None:
        """Collect a class by what it holds, for its own source cannot be read once its module is put away."""
        if id(kind) in self._seen or not _is_own_class(kind):
            return
        self._seen[id(kind)] = kind
        for name in sorted(kind.__dict__):
            member = kind.__dict__[name]
            for inner in _functions_in(member):
                self._collect_function(inner)
            if not name.startswith("_" if issubclass(kind, enum.Enum) else "__"):
                self.parts.append(f"{kind.__qualname__}.{name}={self._text(member)}")
        for base in kind.__bases__:
            self._collect_class(base)


def _used_names(code: types.CodeType) -> set[str]:
    inner = (_used_names(const) for const in code.co_consts if isinstance(const, types.CodeType))
    own = {name for name in code.co_names if not (name.startswith("__") and name.endswith("__"))}
    return own.union(*inner)


def _portable(text: str, folder: Path) -> str:
    """Return a text without the place of the repo on this machine: a path below or above a folder as a relative one."""
    path = Path(text)
    if not path.is_absolute() or path == path.parent:
        return text
    near = path.is_relative_to(folder) or folder.is_relative_to(path)
    return Path(os.path.relpath(path, folder)).as_posix() if near else text


def _enclosed(function: types.FunctionType) -> dict[str, object]:
    """Return what a function uses of the functions around it; a name that is not bound yet is left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def _functions_in(member: object) -> list[types.FunctionType]:
    """Return the functions that a class's attribute stands for: a method, or what a property reads and writes with."""
    if isinstance(member, property):
        found: list[object] = [member.fget, member.fset]
    elif isinstance(member, staticmethod | classmethod):
        found = [member.__func__]
    else:
        found = [member.func] if isinstance(member, cached_property) else [member]
    return [function for function in found if isinstance(function, types.FunctionType)]


def _is_own_class(kind: type) -> bool:
    """Tell whether a class is the user's own; a module that is not in ``sys.modules`` is one of a loaded repo."""
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ == "__main__":
        return True
    return _is_own(module.__dict__.get("__file__"))


def _is_own(file: str | None) -> bool:
    """Tell whether a file is the user's own: neither Python's, nor Likewise's, nor that of an installed library."""
    if file is None or file.startswith((_STANDARD, _LIKEWISE, "<frozen")):
        return False
    return not any(part in file for part in _INSTALLED)
