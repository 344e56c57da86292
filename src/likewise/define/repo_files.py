"""RepoFiles: which files of a feature repo define features, told from their text, before anything is run.

A file belongs to the repo's definitions if it, or a module of the repo that it imports, imports Feast or Likewise, and
it does not build a ``FeatureStore``: a file that builds one is a program that uses the repo. A file that imports
``likewise.cases`` holds example cases.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from likewise.core.errors import Problem

IGNORE_FILES = (".likewiseignore", ".feastignore")
"""Files at a repo's root that list, a glob a line, what is not loaded."""
OURS = ("feast", "likewise")
CASES = "likewise.cases"
"""What a file imports that holds example cases, and no definitions."""
_FOREIGN_FOLDERS = {
    "site-packages": "it holds installed packages",
    "dist-packages": "it holds installed packages",
    "node_modules": "it holds installed packages",
}
_MAYBE = frozenset({"feast"})  # what a file counts as importing that cannot be read: loading it says what is wrong
_MENTIONS = re.compile(rb"\b(?:feast|likewise)\b")


class Skipped(NamedTuple):
    """A file or folder of the repo that is not loaded."""

    file: str
    """Its path below the repo's root; a folder ends with ``/``."""
    reason: str
    """Why it is not loaded."""


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One Python file below a repo's root, as its text tells."""

    path: Path
    """Its absolute path."""
    shown: str
    """Its path below the root, with ``/``."""
    module: str
    """The name it is imported by from the root: ``features/user.py`` is ``features.user``."""
    imports: frozenset[str] = frozenset()
    """Every module that importing it may import, under full names."""
    store_line: int = 0
    """The line that builds a FeatureStore when the file is imported, from 1; 0: none does."""
    fault: str = ""
    """Why its imports could not be told, when it cannot be a file that defines features; empty: they were."""

    @property
    def imports_us(self) -> bool:
        """Whether importing it imports Feast or Likewise at once."""
        return any(name.partition(".")[0] in OURS for name in self.imports)


@dataclass(slots=True)
class RepoFiles:
    """The Python files of a repo, sorted by what is to be done with them; each list in path order."""

    files: list[RepoFile] = field(default_factory=list)
    """All of them: those to load, and those they may import."""
    to_load: list[RepoFile] = field(default_factory=list)
    """Those that define features."""
    skipped: list[Skipped] = field(default_factory=list)
    """Those that do not, each with the reason."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the ignore files."""


def read_repo(root: Path) -> RepoFiles:
    """Sort the Python files below a folder by what they are to the repo.

    Args:
        root: the repo's folder, absolute.
    """
    found = RepoFiles()
    ignored = _ignored(root, found.problems)
    unwanted: dict[str, str] = {}
    for path in _python_files(root, found.skipped):
        shown = path.relative_to(root).as_posix()
        if path in ignored:
            unwanted[shown] = ignored[path]
        found.files.append(_read(path, shown))
    _sort(found, unwanted)
    return found


def _sort(found: RepoFiles, unwanted: Mapping[str, str]) -> None:
    ours = _reaching_us(found.files)
    for file in found.files:
        if file.shown in unwanted:
            found.skipped.append(Skipped(file.shown, unwanted[file.shown]))
        elif file.module not in ours:
            why = f"it {file.fault}, and mentions" if file.fault else "it imports"
            found.skipped.append(Skipped(file.shown, f"{why} neither feast nor likewise"))
        elif CASES in file.imports:
            found.skipped.append(Skipped(file.shown, "it holds example cases, for 'likewise test'"))
        elif file.store_line:
            reason = f"it builds a FeatureStore (line {file.store_line}): a program that uses the repo"
            found.skipped.append(Skipped(file.shown, reason))
        else:
            found.to_load.append(file)
    found.skipped.sort()


def _reaching_us(files: Sequence[RepoFile]) -> set[str]:
    """Return the modules that import Feast or Likewise, themselves or by way of other modules of the repo."""
    reached = {file.module for file in files if file.imports_us}
    while True:
        more = {file.module for file in files if file.imports & reached} - reached
        if not more:
            return reached
        reached |= more


# Finding


def _python_files(root: Path, skipped: list[Skipped]) -> list[Path]:
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if _is_wanted(Path(folder, name), root, skipped)]
        found.extend(Path(folder, name) for name in names if name.endswith(".py") and not name.startswith("."))
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _is_wanted(folder: Path, root: Path, skipped: list[Skipped]) -> bool:
    if folder.name.startswith(".") or folder.name == "__pycache__":
        return False
    reason = _FOREIGN_FOLDERS.get(folder.name)
    if (folder / "pyvenv.cfg").exists():
        reason = "it is a virtual environment"
    if reason:
        skipped.append(Skipped(f"{folder.relative_to(root).as_posix()}/", reason))
    return not reason


def _ignored(root: Path, problems: list[Problem]) -> dict[Path, str]:
    """Return the files that an ignore file names, itself or a folder above it, each with the reason."""
    found: dict[Path, str] = {}
    for name in IGNORE_FILES:
        if not (root / name).is_file():
            continue
        for number, line in enumerate((root / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            glob = line.partition("#")[0].strip().removeprefix("./").strip("/")
            if not glob:
                continue
            try:
                matches = list(root.glob(glob))
            except (ValueError, NotImplementedError) as error:
                problems.append(Problem(f"{glob!r} is no glob: {error}", "write one, such as data/*.py", name, number))
                continue
            for path in matches:
                below = [path] if path.is_file() else path.rglob("*.py")
                found.update(dict.fromkeys(below, f"{name} line {number} names it ({glob})"))
    return found


# Reading


def _read(path: Path, shown: str) -> RepoFile:
    module = _module_name(shown)
    try:
        text = path.read_bytes()
    except OSError:
        return RepoFile(path, shown, module, _MAYBE)
    try:
        tree = _parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if _MENTIONS.search(text):
            return RepoFile(path, shown, module, _MAYBE)
        said = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        return RepoFile(path, shown, module, fault=f"is not valid Python ({said})")
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    nodes = list(_run_on_import(tree))
    return RepoFile(path, shown, module, frozenset(_imported(nodes, package)), _store_line(nodes))


def _parse(text: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the file is loaded
        return ast.parse(text)


def _module_name(shown: str) -> str:
    parts = shown.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _run_on_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Return the nodes that run when the file is imported, in no certain order."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and _is_never_so(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _is_never_so(test: ast.expr) -> bool:
    """Tell whether a condition is false in a file that is imported."""
    text = ast.unparse(test) if isinstance(test, ast.Compare | ast.Name | ast.Attribute) else ""
    return text in ("__name__ == '__main__'", "'__main__' == __name__", "TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported(nodes: Iterable[ast.AST], package: str) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _and_parents(alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(module or "", package, level)
                yield from _and_parents(base)
                yield from (f"{base}.{alias.name}" if base else alias.name for alias in names)


def _and_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1) if parts[0])


def _absolute(module: str, package: str, level: int) -> str:
    if level == 0:
        return module
    parents = package.split(".") if package else []
    kept = parents[: len(parents) - level + 1]
    return ".".join([*kept, *([module] if module else [])])


def _store_line(nodes: Iterable[ast.AST]) -> int:
    """Return the first line that calls FeatureStore, under whatever name it was imported; 0 when none does."""
    names, lines = {"FeatureStore"}, []
    listed = list(nodes)
    for node in listed:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
            names.update(alias.asname for alias in node.names if alias.name == "FeatureStore" and alias.asname)
    for node in listed:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in names:
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="FeatureStore")):
                lines.append(node.lineno)
    return min(lines, default=0)
